"""The number of images that are processed at once, by device."""

from __future__ import annotations

import torch

from underfire.batching import MULTIPLE


def suited_size(height: int, width: int, device: torch.device) -> int:
    """Choose a batch size, a multiple of eight up to 256, for images of ``height`` x ``width`` pixels.

    On a CPU the batch is small enough to stay in the caches; on a GPU it is large enough to keep the device busy.
    """
    pixels = height * width
    room = (64 if device.type == "cpu" else 1024) * 32 * 32 * (4 if pixels > 64 * 64 else 1)
    return max(MULTIPLE, min(256, room // pixels // MULTIPLE * MULTIPLE))
