"""Smooth activations as a product x * gate(x).

Relevance passes such an activation unchanged, as it passes a rectifier (Achtibat et al. 2024, section 3.3): where
relevance is value x gradient, the gradient goes on times the gate, in the place of the activation's derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    if approximate == "tanh":
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _mish(x: Tensor) -> Tensor:
    return torch.tanh(F.softplus(x))


GATES: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.gelu: _gelu,
    F.silu: torch.sigmoid,
    F.mish: _mish,
    F.hardswish: F.hardsigmoid,
}
"""Activations f(x) = x * gate(x), and their gates."""
