"""Sums of many gradients, differentiated with one graph at a time.

The mean gradient of 16 points, differentiated as it stands, keeps 16 graphs until the backward pass. But a sum is
differentiated term by term: the backward pass can make the graph of one term, use it, and free it before the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Term = Callable[[Tensor, int, bool], Tensor]
"""(images, index of the term, True if the result is to be differentiable) -> the term, of any shape."""


def summed(term: Term, images: Tensor, count: int) -> Tensor:
    """Add ``count`` terms that depend on ``images``. The result can be differentiated once in the images.

    The terms are computed without graphs. The backward pass computes each term again, with a graph of its own, so that
    its memory is that of one term, however many there are. In exchange every term is computed twice.

    Args:
        term: computes one term. It must compute the same values each time, and depend on no other tensor that needs a
            gradient.
        images: N x C x H x W.
        count: the number of terms, 1 or more.
    """
    total: Tensor = _Summed.apply(images, term, count)
    return total


class _Summed(torch.autograd.Function):
    """The sum of the terms, without their graphs."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, term: Term, count: int) -> Tensor:
        ctx.save_for_backward(images)
        ctx.term, ctx.count = term, count
        total = term(images.detach(), 0, False)
        for index in range(1, count):
            total = total + term(images.detach(), index, False)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (images,) = ctx.saved_tensors
        total = torch.zeros_like(images)
        for index in range(ctx.count):
            with torch.enable_grad():
                leaf = images.detach().requires_grad_()
                value = ctx.term(leaf, index, True)
                (gradient,) = torch.autograd.grad(value, leaf, outer, allow_unused=True)
            if gradient is not None:
                total += gradient
        return total, None, None
