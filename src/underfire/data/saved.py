"""8-bit images with any number of channels as PNG files without loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

_BANDS = "bands"
"""The key of the number of channels in a PNG file that holds them one below the other."""


def save_png(path: Path, levels: Tensor) -> None:
    """Write an image.

    Up to 4 channels are those of the PNG (grey; grey and opacity; RGB; RGB and opacity). More are grey images, one
    below the other, and the file says how many.

    Args:
        path: the file; an existing one is replaced.
        levels: uint8 C x H x W.
    """
    pixels, described = levels.cpu().numpy(), PngInfo()
    if len(pixels) == 1:
        image = Image.fromarray(pixels[0])
    elif len(pixels) <= 4:
        image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    else:
        image = Image.fromarray(pixels.reshape(-1, pixels.shape[2]))
        described.add_text(_BANDS, str(len(pixels)))
    image.save(path, format="PNG", compress_level=3, pnginfo=described)


def load_png(path: Path) -> Tensor:
    """Read an image that ``save_png`` wrote: uint8 C x H x W. Raises OSError if it cannot be read."""
    with Image.open(path) as image:
        image.load()
        bands = image.info.get(_BANDS)
        values = np.array(image, dtype=np.uint8)
    if bands is not None:
        values = values.reshape(int(bands), -1, values.shape[1])
    elif values.ndim == 2:
        values = values[None]
    else:
        values = values.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(values))


def visible(levels: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return the part of an image that can be shown: H x W, or H x W x 3 of the first three channels.

    Args:
        levels: uint8 C x H x W.
    """
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = levels.numpy()
    return pixels[0] if len(pixels) < 3 else np.ascontiguousarray(pixels[:3].transpose(1, 2, 0))
