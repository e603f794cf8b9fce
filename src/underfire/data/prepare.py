"""Preparation of a decoded image of any kind: 8-bit pixels for a classifier."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from underfire.data.pixels import HOW_TO_WINDOW, DeepColours, Picture
from underfire.data.resizing import DEFAULT_RESIZING, Resizing
from underfire.errors import InputError, UnreadableImageError

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for each number of channels."""


def prepare(
    image: Picture,
    size: tuple[int, int] | None,
    channels: int,
    resizing: Resizing = DEFAULT_RESIZING,
    *,
    behind: Literal["white", "black"] = "white",
    white: float | None = None,
) -> Tensor:
    """Turn an image upright, convert its channels, resize it by its short side, and crop it to the centre.

    By default, resizing is antialiased and bicubic, scales both axes alike, and is one step with the crop, so the crop
    may begin between two pixels. An image that already has the size keeps its pixels exactly.

    Args:
        image: any PIL image, an array H x W x C of bands, or colours of 16 bits; it is not changed. EXIF rotation is
            applied. Transparent images are laid over a background. 16-bit values are scaled by 1/257. CMYK and similar
            modes are converted by Pillow, without colour profiles. RGB becomes grey by ITU-R 601. Float images are in
            [0, 1] if no value is larger than 1, else in [0, 255]; 32-bit integers are in [0, 255] if no value is larger
            than 255, else in [0, 65535].
        size: height and width; None keeps the size of the image.
        channels: 1 (grey), 3 (RGB), 4 (RGB and opacity), or the number of bands. Bands are not converted.
        resizing: the method of resizing to ``size``.
        behind: the colour of the background behind transparent images; not with 2 or 4 channels, as opacity is one.
        white: the value of white in images with more than 8 bits, instead of the ranges above.

    Returns:
        uint8 tensor C x H x W. Prepared images are 8-bit, so an attack starts from an image that can be saved.

    Raises:
        InputError: ``size`` or ``channels`` is not one of the above.
        UnreadableImageError: the image has no pixels, or values outside of all ranges above.
    """
    check_format(size, channels)
    if isinstance(image, np.ndarray):
        return _bands(image, size, channels, resizing, white)
    source = image.source if isinstance(image, DeepColours) else image
    if isinstance(image, DeepColours):
        image = _scaled(image, white or 65535.0)
    if 0 in image.size:
        raise UnreadableImageError(f"the image has no pixels: it is {image.width} wide, {image.height} high.")
    if channels not in _MODES:
        raise UnreadableImageError(
            f"the image has {len(image.getbands())} channels, and the classifier takes {channels}: expected .npy or "
            "TIFF files with as many bands."
        )
    image = _eight_bit(_upright(image, source), source.format, behind, white)
    if channels in (1, 3):
        image = _without_transparency(image, behind)
    if image.mode == "LAB" and channels != 3:  # Pillow goes from LAB to RGB only
        image = image.convert("RGB")
    image = image.convert(_MODES[channels])
    if size is not None:
        image = resizing.apply(image, size)
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def _bands(
    values: np.ndarray[Any, Any], size: tuple[int, int] | None, channels: int, resizing: Resizing, white: float | None
) -> Tensor:
    """Prepare an array H x W x C, band by band."""
    if 0 in values.shape:
        raise UnreadableImageError(f"the image has no pixels: its shape is {values.shape}.")
    if values.shape[2] != channels:
        raise UnreadableImageError(
            f"the image has {values.shape[2]} channels, and the classifier takes {channels}: expected images with as "
            "many, or a classifier for as many (--channels says how many it takes)."
        )
    if values.dtype != np.uint8:
        known = white or (65535.0 if values.dtype == np.uint16 else None)
        values = _levels(values.astype(np.float64), known, f"array of {values.dtype}")
    bands = [Image.fromarray(np.ascontiguousarray(values[..., band])) for band in range(channels)]
    if size is not None:
        bands = [resizing.apply(band, size) for band in bands]
    return torch.stack([torch.from_numpy(np.array(band, dtype=np.uint8)) for band in bands])


def check_format(size: tuple[int, int] | None, channels: int) -> None:
    """Raise ``InputError`` unless ``size`` is None or a (height, width), and ``channels`` is at least 1."""
    if not isinstance(channels, Integral) or isinstance(channels, bool) or channels < 1:
        raise InputError(f"channels is {channels!r}; expected 1 (grey), 3 (RGB), or the number of bands.")
    if size is not None and not (
        isinstance(size, tuple | list)
        and len(size) == 2
        and all(isinstance(side, Integral) and int(side) >= 1 for side in size)
    ):
        raise InputError(f"size is {size!r}; expected (height, width), both at least 1, or None.")


def _scaled(picture: DeepColours, white: float) -> Image.Image:
    """Scale colours of 16 bits to 8 bits. Opacity is full at 65535, or at ``white`` if no value of it is larger."""
    levels = [_levels(picture.colours.astype(np.float64), white, f"16-bit {picture.mode}")]
    if picture.colours is not picture.values:
        opacity = picture.values[..., -1:].astype(np.float64)
        levels.append(_levels(opacity, white if opacity.max() <= white else 65535.0, "16-bit opacity"))
    height, width = picture.values.shape[:2]
    return Image.frombytes(picture.mode, (width, height), np.concatenate(levels, -1).tobytes())


def _upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """Turn an image as the metadata of the file that it comes from say."""
    # Not ImageOps.exif_transpose: it also rewrites the metadata, and raises if any other tag is malformed.
    try:
        orientation = source.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # with broken metadata, show the pixels as they are stored, as image viewers do
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _eight_bit(image: Image.Image, decoded_from: str | None, behind: str, white: float | None) -> Image.Image:
    """Scale images with more than 8 bits per channel to 8 bits; return other images unchanged."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image, dtype=np.float64)
    if white is None and image.mode != "F":
        # If the file says 16 bits, a dark image may still have no value above 255.
        known_bits = image.mode != "I" or decoded_from in ("PNG", "PPM")
        white = 65535.0 if known_bits or float(values.max()) > 255 else 255.0
    levels = _levels(values, white, f"mode {image.mode}")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        levels[values == transparent] = 255 if behind == "white" else 0
    return Image.fromarray(levels)


def _levels(values: np.ndarray[Any, Any], white: float | None, kind: str) -> np.ndarray[Any, Any]:
    """Scale float64 values from [0, white] to 8-bit levels. If ``white`` is None, it is 1 or 255, as the values say."""
    low, high = float(values.min()), float(values.max())
    white = white or (1.0 if high <= 1 + 1e-6 else 255.0)
    if not (low >= 0 and high <= white * (1 + 1e-6)):  # written so that NaN fails
        advice = "scale it to 8 bits first"
        if low < 0:
            advice = HOW_TO_WINDOW
        elif high < float("inf"):
            advice = f"give the value of white with --white {high:g} or more, or {advice}"
        raise UnreadableImageError(
            f"the values of the image ({kind}) range over [{low:g}, {high:g}]; expected pixels in "
            f"[0, {white:g}]: it looks like a measurement and not like a picture; {advice}."
        )
    levels: np.ndarray[Any, Any] = (values * (255.0 / white)).round().clip(0, 255).astype(np.uint8)
    return levels


def _without_transparency(image: Image.Image, behind: str) -> Image.Image:
    if image.mode == "La":  # Pillow goes from premultiplied grey to LA only
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, behind), rgba)
    return image
