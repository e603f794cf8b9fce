"""Adam (Kingma & Ba 2015) with a state per image, differentiable in the gradients.

Attacks move perturbations with it, and MASK moves its masks. An attack on MASK differentiates these steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

State = dict[str, Tensor]

_TINY = 1e-30
"""A lower bound of the second moment, because the root of 0 has no derivative. Its root is far below epsilon."""


def start(variable: Tensor, amsgrad: bool = False) -> State:
    """Return the initial state for a variable N x ...: moments and counters of 0."""
    state = {"first": torch.zeros_like(variable), "second": torch.zeros_like(variable)}
    if amsgrad:
        state["largest"] = torch.zeros_like(variable)
    state["count"] = variable.new_zeros(len(variable))
    return state


def direction(
    gradient: Tensor, state: State, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> tuple[Tensor, State]:
    """Compute the direction that lowers the loss, and the new state.

    If the state has ``largest``, the direction is that of AMSGrad (Reddi et al. 2018).

    Args:
        gradient: N x ..., the gradient of the loss.
        state: from ``start`` or from the previous call.
        beta1, beta2: the decay rates of the first and the second moment.
        epsilon: added to the root of the second moment.

    Returns:
        The direction, of the shape of ``gradient``, and the new state.
    """
    shape = (-1, *([1] * (gradient.ndim - 1)))
    count = state["count"] + 1
    first = state["first"] * beta1 + gradient * (1 - beta1)
    second = state["second"] * beta2 + gradient * gradient * (1 - beta2)
    new = {"first": first, "second": second, "count": count}
    if "largest" in state:
        new["largest"] = torch.maximum(state["largest"], second)
    root = new.get("largest", second).clamp_min(_TINY).sqrt()
    denominator = root / (1 - beta2**count).sqrt().view(shape) + epsilon
    return -first / (1 - beta1**count).view(shape) / denominator, new
