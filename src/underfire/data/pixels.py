"""Decoded images: Pillow's, or others for what Pillow cannot hold, such as five bands or 16-bit colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class DeepColours:
    """An image with several channels of 16 bits.

    Attributes:
        values: uint16 H x W x C.
        mode: what the channels are, in Pillow's word, such as RGBA.
        source: the same image as Pillow decodes it, for its metadata.
    """

    values: np.ndarray[Any, Any]
    mode: str
    source: Image.Image

    @property
    def colours(self) -> np.ndarray[Any, Any]:
        """The values without those of opacity."""
        return self.values[..., :-1] if self.mode.endswith("A") else self.values


Picture: TypeAlias = "Image.Image | np.ndarray[Any, Any] | DeepColours"
"""An image of Pillow, an array H x W x C of unsigned integers or floats, or colours of 16 bits."""

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""The usual numbers of bits per pixel of cameras, X-ray and CT scanners."""

HOW_TO_WINDOW = (
    "choose the values of black and white, such as low, high = -160, 240 for soft tissue in CT, and save 8-bit images "
    "of 255 * np.clip((values - low) / (high - low), 0, 1)"
)
"""Advice for measurements with negative values, such as CT in Hounsfield units."""


def is_deep(picture: Picture) -> bool:
    """Return True if an image has 16-bit unsigned integers, so that its value of white is a matter of convention."""
    if isinstance(picture, DeepColours):
        return True
    if isinstance(picture, np.ndarray):
        return bool(picture.dtype == np.uint16)
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in ("PNG", "PPM"))


def highest(picture: Picture) -> float:
    """Return the largest value of an image; opacity does not count in colours of 16 bits."""
    values = picture.colours if isinstance(picture, DeepColours) else np.asarray(picture)
    return float(values.max(initial=0))


def bits_of(value: float) -> int:
    """Return the smallest usual number of bits that holds ``value``: 12 for 4000."""
    return next((bits for bits in BIT_DEPTHS if value < 2**bits), BIT_DEPTHS[-1])
