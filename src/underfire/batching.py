"""Batches with results that do not depend on the division of images into batches.

Libraries choose convolution kernels by shape, and kernels for different batch sizes sum in different orders: an image
may get other bits in a batch of 7 than in a batch of 8. So every batch is filled up to a multiple of eight.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MULTIPLE = 8


def padded_size(count: int) -> int:
    """Round ``count`` up to a multiple of eight."""
    return -(-count // MULTIPLE) * MULTIPLE


def padding(count: int, device: torch.device | None = None) -> Tensor:
    """Return the indices 0..count-1, followed by zeros up to a multiple of eight."""
    indices = torch.arange(padded_size(count), device=device)
    return torch.where(indices < count, indices, 0)


def in_batches(function: Callable[..., Tensor], *rows: Tensor, batch_size: int = 64) -> Tensor:
    """Call ``function`` on slices of ``rows`` and concatenate the outputs.

    Each slice is filled up to a multiple of eight, and the outputs for the filling are dropped.

    Args:
        function: takes one tensor per tensor in ``rows``; its output has the same leading dimension.
        rows: tensors with the same leading dimension, at least 1.
        batch_size: rows per slice.

    Raises:
        ValueError: there are no rows.
    """
    outputs = []
    for begin in range(0, len(rows[0]), batch_size):
        chunk = [tensor[begin : begin + batch_size] for tensor in rows]
        count = len(chunk[0])
        fill = padding(count, rows[0].device)
        outputs.append(function(*(tensor[fill.to(tensor.device)] for tensor in chunk))[:count])
    if not outputs:
        raise ValueError("there are no rows; expected at least one")
    return torch.cat(outputs)
