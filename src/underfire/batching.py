"""Batches whose results do not depend on how the images were cut into them.

Convolution kernels are chosen by shape, and those for odd batch sizes sum in another order: the same image gets
other bits in a batch of 7 than in one of 8. So every batch is filled up to a multiple of eight.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MULTIPLE = 8


def padded_size(count: int) -> int:
    """``count`` rounded up to the next multiple of eight."""
    return -(-count // MULTIPLE) * MULTIPLE


def padding(count: int, device: torch.device | None = None) -> Tensor:
    """Indices 0..count-1, and the first one again until their number is a multiple of eight."""
    indices = torch.arange(padded_size(count), device=device)
    return torch.where(indices < count, indices, 0)


def in_batches(function: Callable[..., Tensor], *rows: Tensor, batch_size: int = 64) -> Tensor:
    """``function`` over slices of ``rows`` (tensors with the same leading dimension), its outputs concatenated.

    Each slice is filled up to a multiple of eight, and the outputs for the filling are dropped.
    """
    outputs = []
    for begin in range(0, len(rows[0]), batch_size):
        chunk = [tensor[begin : begin + batch_size] for tensor in rows]
        count = len(chunk[0])
        fill = padding(count, rows[0].device)
        outputs.append(function(*(tensor[fill.to(tensor.device)] for tensor in chunk))[:count])
    if not outputs:
        raise ValueError("no rows to run over")
    return torch.cat(outputs)
