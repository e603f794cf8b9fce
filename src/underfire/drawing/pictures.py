"""Pictures from images and maps: heat colours, overlays, differences, resizing. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from underfire.errors import InputError

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating]

# From dark violet over rose and orange to yellow. Lightness rises in even steps, so that higher values also look higher
# in grey print and to colour-blind readers.
ANCHORS: tuple[tuple[int, int, int], ...] = (
    (26, 20, 62),
    (78, 32, 116),
    (142, 44, 122),
    (201, 68, 96),
    (240, 114, 60),
    (252, 170, 52),
    (255, 229, 110),
)
OPACITY = 0.85
"""The opacity of heat at the value 1."""
BACKGROUND = 0.8
"""The brightness of the grey image below a map, as a factor."""


def heat(values: Values) -> Pixels:
    """Turn values into colours.

    Args:
        values: in [0, 1], of any shape S; values outside are clipped.

    Returns:
        uint8 S x 3.

    Raises:
        InputError: a value is NaN, which has no colour.
    """
    values = _finite(values)
    places = np.linspace(0, 1, len(ANCHORS))
    channels = [np.interp(values, places, [anchor[c] for anchor in ANCHORS]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def opacity(values: Values) -> npt.NDArray[np.float64]:
    """Return the opacity of heat over an image: from 0 at the value 0, where the image stays visible, to 0.85 at 1."""
    return OPACITY * _finite(values).astype(np.float64).clip(0, 1)


def veil(values: Values) -> Pixels:
    """Turn a map h x w in [0, 1] into heat with opacity, uint8 h x w x 4, for the page to lay over a grey image."""
    alpha = np.rint(opacity(values) * 255).astype(np.uint8)
    return np.concatenate([heat(values), alpha[..., None]], axis=-1)


def overlay(image: Pixels, values: Values) -> Pixels:
    """Lay a map over an image. The image turns grey and darker, so that all colours come from the map.

    Args:
        image: uint8 H x W or H x W x 3.
        values: the map, h x w in [0, 1]; it is resized to the image.

    Returns:
        uint8 H x W x 3.

    Raises:
        InputError: the map holds NaN.
    """
    below = BACKGROUND * grey(image)[..., None].astype(np.float64)
    # Resize the values and then colour them: a mixture of yellow and violet would not be the colour of a value between.
    large = resized(values, (image.shape[0], image.shape[1]))
    share = opacity(large)[..., None]
    mixed = below * (1 - share) + heat(large) * share
    return np.rint(mixed).astype(np.uint8)


def resized(values: Values, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Resize a map h x w to ``size`` (height, width): bilinear, with pixels as areas; averaged if it shrinks."""
    source = Image.fromarray(_finite(values).astype(np.float32))
    return np.asarray(source.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.float64).clip(0, 1)


def grey(image: Pixels) -> Pixels:
    """Return the luminance (ITU-R 601) of an image H x W or H x W x 3: uint8 H x W."""
    return image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))


def colour(image: Pixels) -> Pixels:
    """Return an image H x W or H x W x 3 as H x W x 3."""
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image


def difference(clean: Pixels, changed: Pixels, factor: int = 10) -> Pixels:
    """Draw the change of an image around middle grey: 128 means no change.

    Args:
        clean, changed: uint8, of one shape.
        factor: the change is multiplied by this.

    Returns:
        uint8, of the same shape.

    Raises:
        InputError: the images differ in shape.
    """
    if clean.shape != changed.shape:
        raise InputError(f"clean has shape {clean.shape} and changed {changed.shape}; expected the same picture twice.")
    moved = changed.astype(np.int64) - clean.astype(np.int64)
    return (128 + factor * moved).clip(0, 255).astype(np.uint8)


def fitted(image: Pixels, side: int) -> Pixels:
    """Resize an image so that its longer side is close to ``side`` pixels, and not more.

    A small image is enlarged by a whole factor, so that its pixels become squares. A large one is reduced smoothly.
    """
    longer = max(image.shape[:2])
    if longer <= side:
        factor = max(side // longer, 1)
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = (max(round(length * side / longer), 1) for length in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _finite(values: Values) -> Values:
    values = np.asarray(values)
    if np.isnan(values).any():
        raise InputError("the map holds NaN, which has no colour; expected values in [0, 1].")
    return values
