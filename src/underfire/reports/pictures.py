"""Pictures from images and maps: heat colours, overlays, differences, enlargements. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from underfire.errors import InputError

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating]

# From dark violet over rose and orange to yellow. Lightness rises in even steps, so that the order of values shows
# without any sense of hue, in print, and to the colour-blind.
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
BACKGROUND = 0.8


def heat(values: Values) -> Pixels:
    """Colours for ``values`` in [0, 1], of any shape S: uint8 S x 3. Values outside are clipped.

    Raises:
        InputError: for NaN, which has no colour.
    """
    values = _finite(values)
    places = np.linspace(0, 1, len(ANCHORS))
    channels = [np.interp(values, places, [anchor[c] for anchor in ANCHORS]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def opacity(values: Values) -> npt.NDArray[np.float64]:
    """How strongly heat covers the image below: none at 0, so that the image stays visible, 0.85 at 1."""
    return OPACITY * _finite(values).astype(np.float64).clip(0, 1)


def veil(values: Values) -> Pixels:
    """Heat with its opacity, uint8 h x w x 4: to be laid over a grey image by whoever shows it."""
    alpha = np.rint(opacity(values) * 255).astype(np.uint8)
    return np.concatenate([heat(values), alpha[..., None]], axis=-1)


def overlay(image: Pixels, values: Values) -> Pixels:
    """The map over the image, which turns grey and darker, so that every colour is the map's: uint8 H x W x 3.

    Args:
        image: uint8 H x W or H x W x 3.
        values: the map, h x w in [0, 1]; it is resized to the image.
    """
    below = BACKGROUND * grey(image)[..., None].astype(np.float64)
    # Colours are mixed after the map was resized, not before: between yellow and violet lies no third value.
    large = resized(values, (image.shape[0], image.shape[1]))
    share = opacity(large)[..., None]
    mixed = below * (1 - share) + heat(large) * share
    return np.rint(mixed).astype(np.uint8)


def resized(values: Values, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """A map h x w at another size (height, width): bilinear, aligned by area, averaged where it shrinks."""
    source = Image.fromarray(_finite(values).astype(np.float32))
    return np.asarray(source.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.float64).clip(0, 1)


def grey(image: Pixels) -> Pixels:
    """Luminance (ITU-R 601) of an image, uint8 H x W."""
    return image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))


def colour(image: Pixels) -> Pixels:
    """The image as H x W x 3."""
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image


def difference(clean: Pixels, changed: Pixels, factor: int = 10) -> Pixels:
    """What was added to an image, ``factor`` times, around middle grey: 128 means no change. uint8, as the images.

    Raises:
        InputError: where the images differ in shape.
    """
    if clean.shape != changed.shape:
        raise InputError(f"clean has shape {clean.shape} and changed {changed.shape}; expected the same picture twice.")
    moved = changed.astype(np.int64) - clean.astype(np.int64)
    return (128 + factor * moved).clip(0, 255).astype(np.uint8)


def fitted(image: Pixels, side: int) -> Pixels:
    """The image about ``side`` pixels large: enlarged by a whole factor, pixel by pixel, or reduced smoothly.

    Enlarging never goes beyond ``side``, and reducing ends with the longer side at ``side``.
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
