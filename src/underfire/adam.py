"""Adam's arithmetic (Kingma & Ba 2015) with state per image, differentiable in the gradients that it is given.

Attacks move perturbations by it, and MASK its masks, also while it is itself differentiated.
"""

from __future__ import annotations

import torch
from torch import Tensor

State = dict[str, Tensor]

_TINY = 1e-30
"""The least second moment whose root is taken: the root of 0 has no derivative, and 1e-15 beside epsilon is nothing."""


def start(variable: Tensor, amsgrad: bool = False) -> State:
    """Moments 0 and counters 0 for a variable N x ..."""
    state = {"first": torch.zeros_like(variable), "second": torch.zeros_like(variable)}
    if amsgrad:
        state["largest"] = torch.zeros_like(variable)
    state["count"] = variable.new_zeros(len(variable))
    return state


def direction(
    gradient: Tensor, state: State, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> tuple[Tensor, State]:
    """The direction that lowers the loss, like ``gradient`` (N x ...), and the new state.

    With ``largest`` in the state it is AMSGrad's (Reddi et al. 2018).
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
