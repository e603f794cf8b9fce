"""Helpers for tests of images: round trips through file formats, and small pictures with known pixels."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from underfire.data.decode import decode_image

COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 255], [0, 0, 0], [90, 120, 200]]], dtype=np.uint8
)


def saved(image: Image.Image, suffix: str, **options: object) -> Image.Image:
    """Write ``image`` in a file format and read it back."""
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return decode_image(buffer.getvalue(), "the test's image")


def grey(pixels: torch.Tensor) -> list[list[int]]:
    assert pixels.shape[0] == 1
    return pixels[0].tolist()


def oriented(tag: int, suffix: str = "PNG") -> Image.Image:
    exif = Image.Exif()
    exif[0x0112] = tag
    levels = Image.fromarray(np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8))
    return saved(levels, suffix, exif=exif)
