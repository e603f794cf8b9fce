"""Decoding of images that Pillow has no mode for: ``.npy`` files, and TIFF files with other numbers of bands."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from underfire.data.npy_header import check_header
from underfire.data.pixels import HOW_TO_WINDOW, Picture
from underfire.errors import UnreadableImageError

_NPY, _TIFF = b"\x93NUMPY", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_BANDS = 64
"""The largest number of bands that an image may have."""


def is_npy(content: bytes) -> bool:
    """Return True if a file's content is that of an ``.npy`` file."""
    return content.startswith(_NPY)


def is_tiff(content: bytes) -> bool:
    """Return True if a file's content is that of a TIFF file."""
    return content.startswith(_TIFF)


def decode_npy(content: bytes, where: str) -> Picture:
    """Decode an ``.npy`` file: H x W, H x W x C, or C x H x W. Raises UnreadableImageError if it is something else."""
    try:
        file = io.BytesIO(content)
        check_header(file, len(content))
        values = np.load(file)
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableImageError(f"{where} cannot be decoded: {error}") from error
    return as_picture(values, where)


def decode_tiff(content: bytes, where: str) -> Picture:
    """Decode a TIFF file that Pillow cannot read in full, with tifffile. Of several pages, take the first.

    Raises:
        UnreadableImageError: tifffile is not installed, or cannot read it either.
    """
    try:
        import tifffile
    except ImportError as error:
        raise UnreadableImageError(
            f"{where} is a TIFF file that Pillow cannot read in full, such as one of more than 4 bands; tifffile can: "
            "pip install 'underfire[formats]'."
        ) from error
    try:
        values = tifffile.imread(io.BytesIO(content), key=0)
    except Exception as error:  # decoders raise nearly anything on broken content
        raise UnreadableImageError(f"{where} cannot be decoded: {error}") from error
    return as_picture(np.asarray(values), where)


def as_picture(values: np.ndarray[Any, Any], where: str) -> Picture:
    """Turn an array into an image: Pillow's if it has a mode for it, else H x W x C of uint8, uint16 or floats.

    Args:
        values: H x W, H x W x C or C x H x W. The channels are the axis that is shorter than both others.
        where: the name of the image, for messages.

    Raises:
        UnreadableImageError: another shape or type.
    """
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim == 3:
        first, second, last = values.shape
        if first < min(second, last):
            values = values.transpose(1, 2, 0)
        elif last >= min(first, second):
            raise UnreadableImageError(
                f"{where} holds an array of shape {values.shape}, in which the channels cannot be told from the sides; "
                "expected H x W x C or C x H x W with fewer channels than rows and columns."
            )
    if values.ndim not in (2, 3) or 0 in values.shape or (values.ndim == 3 and values.shape[2] > MOST_BANDS):
        raise UnreadableImageError(f"{where} holds an array of shape {values.shape}; expected H x W or H x W x C.")
    values = _plain_type(values, where)
    if values.ndim == 2 or (values.dtype == np.uint8 and values.shape[2] == 3):
        return Image.fromarray(np.ascontiguousarray(values))
    return values


def _plain_type(values: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    """Convert values to uint8, uint16 or float32. Raises UnreadableImageError if they are no pixels."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    low, high = (float(values.min()), float(values.max())) if values.dtype.kind in "iu" else (-1.0, 0.0)
    if low < 0 or high > 65535:
        advice = HOW_TO_WINDOW if low < 0 and values.dtype.kind == "i" else "scale it to 8 bits first"
        raise UnreadableImageError(
            f"{where} holds {values.dtype} from {low:g} to {high:g}; expected pixels that are not negative, of up to "
            f"16 bits, or floats: it looks like a measurement and not like a picture; {advice}."
        )
    return values.astype(np.uint16)
