"""Rounding to 8-bit levels during an attack, with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return (images * 255).round() / 255

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def straight_through(images: Tensor) -> Tensor:
    """Round ``images`` to 8-bit levels; the gradient passes as if nothing was rounded (Bengio et al. 2013).

    What an attack sees is then what is judged. Without it a perturbation that is smaller than a level looks like a
    success to the attack, and is gone in the saved image.
    """
    rounded: Tensor = _Rounded.apply(images)
    return rounded
