"""Values and gradients of a batch that is worked off in pieces, so that memory holds the graph of one piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor


def pieces(count: int, copies: int) -> Iterator[slice]:
    """Cut a batch into pieces that have about ``count`` images when each image is there ``copies`` times."""
    size = max(1, count // copies)
    return (slice(start, start + size) for start in range(0, count, size))


def sum_over(parts: Iterator[slice], value: Callable[[slice], Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """Compute the sum of a value over the pieces of a batch, differentiable once in ``inputs``.

    Args:
        parts: the pieces.
        value: computes the values of a piece.
        inputs: leaves such as a network's parameters. Those that ask for no gradient get none.

    Returns:
        A scalar. Its gradient is known already: the graph of a piece is gone once its gradient has been taken.
    """
    asking = [each for each in inputs if each.requires_grad]
    gradients = [torch.zeros_like(each) for each in asking]
    totals: list[Tensor] = []
    for part in parts:
        total = value(part).sum()
        for sum_, found in zip(gradients, torch.autograd.grad(total, asking, allow_unused=True), strict=True):
            if found is not None:
                sum_ += found
        totals.append(total.detach())
    result = torch.stack(totals).sum()
    for each, gradient in zip(asking, gradients, strict=True):
        product = (each * gradient).sum()
        result = result + (product - product.detach())
    return result
