"""Batches with results that do not depend on the division of images into batches.

Libraries choose convolution kernels by shape, and kernels for different batch sizes sum in different orders: an image
may get other bits in a batch of 7 than in a batch of 8. On a CPU it is enough to fill every batch up to a multiple of
eight. On a GPU kernels differ between 8 and 256 images, too: there every batch, also the last one, is filled up to the
batch size, and equal bits are promised for equal batch sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from underfire.arguments import whole_number
from underfire.errors import InputError, warn

MULTIPLE = 8

Part = TypeVar("Part")


def padded_size(count: int) -> int:
    """Round ``count`` up to a multiple of eight."""
    return -(-count // MULTIPLE) * MULTIPLE


def depends_on_batch(device: torch.device) -> bool:
    """Return True if the last bits of an image's result depend on the size of its batch on ``device``."""
    return device.type != "cpu"


def filled_size(count: int, batch_size: int, device: torch.device) -> int:
    """The size that a batch of ``count`` images is filled up to, on the device that computes.

    Args:
        count: the number of images in this batch; 0 stays 0.
        batch_size: the number of images in a full batch.
    """
    full = padded_size(batch_size) if depends_on_batch(device) and count else 0
    return max(padded_size(count), full)


def padding(count: int, size: int, device: torch.device | None = None) -> Tensor:
    """Return the indices 0..count-1, followed by zeros up to ``size`` indices."""
    indices = torch.arange(size, device=device)
    return torch.where(indices < count, indices, 0)


def in_parts(work: Callable[[slice, int], Part], count: int, batch_size: int) -> list[Part]:
    """Call ``work`` on one slice of ``count`` rows after the other, and return what it returns.

    If a GPU runs out of memory, the slice is halved and tried again, and later slices are as small; a warning says so.

    Args:
        work: takes the slice of the rows to work on, and the present batch size. It may be called again for rows on
            which it failed.
        count: the number of rows.
        batch_size: the rows per slice.

    Raises:
        InputError: ``batch_size`` is no whole number, or less than 1.
        torch.OutOfMemoryError: not even eight rows fit.
    """
    batch_size = whole_number("batch_size", batch_size, 1)
    parts: list[Part] = []
    begin = 0
    while begin < count:
        rows = slice(begin, min(begin + batch_size, count))
        try:
            parts.append(work(rows, batch_size))
        except torch.OutOfMemoryError:
            if batch_size <= MULTIPLE:
                raise
        else:
            begin = rows.stop
            continue
        # Outside of the handler, because the error holds the frames, and these hold what filled the memory.
        smaller = max(MULTIPLE, batch_size // 2 // MULTIPLE * MULTIPLE)
        warn(
            f"out of memory with {batch_size} images at once: going on with {smaller}. A smaller batch_size "
            "(--batch-size) from the start saves the time of the failed batch."
        )
        batch_size = smaller
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return parts


def in_batches(
    function: Callable[..., Tensor], *rows: Tensor, batch_size: int = 64, device: torch.device | None = None
) -> Tensor:
    """Call ``function`` on slices of ``rows`` and concatenate the outputs.

    Each slice is filled up (see ``filled_size``), and the outputs for the filling are dropped. See ``in_parts`` for
    what happens if a GPU runs out of memory.

    Args:
        function: takes one tensor per tensor in ``rows``; its output has the same leading dimension.
        rows: tensors with the same leading dimension, at least 1.
        batch_size: rows per slice.
        device: the device on which ``function`` computes; that of the rows if None.

    Raises:
        InputError: there are no rows, or ``batch_size`` is no whole number, or less than 1.
    """

    def work(part: slice, batch_size: int) -> Tensor:
        chunk = [tensor[part] for tensor in rows]
        count = len(chunk[0])
        fill = padding(count, filled_size(count, batch_size, device or rows[0].device), rows[0].device)
        return function(*(tensor[fill.to(tensor.device)] for tensor in chunk))[:count]

    if not len(rows[0]):
        raise InputError("there are no rows; expected at least one.")
    return torch.cat(in_parts(work, len(rows[0]), batch_size))
