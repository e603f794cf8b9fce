"""Decoding of image files, with one kind of error for all failures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from underfire.data import decode_arrays, dicom
from underfire.data.deep_colours import decode_deep, has_separate_channels
from underfire.data.pixels import DeepColours, Picture
from underfire.data.places import is_special
from underfire.errors import UnreadableImageError

# A fixed list, because Pillow looks at the content and not at the suffix: without the list, it would hand an EPS file
# with the name x.jpg to Ghostscript.
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k"),
}

IMAGE_SUFFIXES = frozenset((".npy", *dicom.SUFFIXES, *(each for suffixes in _SUFFIXES.values() for each in suffixes)))


def decode_image(content: bytes, where: str) -> Picture:
    """Decode an image with its metadata. Of several frames, take the first.

    Args:
        content: a file in one of the formats JPEG, PNG, WebP, BMP, GIF, TIFF, PPM, JPEG 2000, NumPy's .npy, or DICOM
            (if pydicom is installed; TIFF files of many bands need tifffile).
        where: the name of the image in error messages, such as its path.

    Raises:
        UnreadableImageError: the image is broken, cut off, empty, in another format, or larger than Pillow's limit for
            decompression bombs (``PIL.Image.MAX_IMAGE_PIXELS`` x 2).
    """
    if not content:
        raise UnreadableImageError(f"{where} is empty: it holds no bytes of an image.")
    if decode_arrays.is_npy(content):
        return decode_arrays.decode_npy(content, where)
    if dicom.is_dicom(content):
        return dicom.decode_dicom(content, where)
    try:
        image = Image.open(io.BytesIO(content), formats=list(_SUFFIXES))
        colours = decode_deep(image, content)
        image.load()
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        if decode_arrays.is_tiff(content):
            return decode_arrays.decode_tiff(content, where)
        # Pillow's message contains the address of the buffer, which differs in every run.
        raise UnreadableImageError(
            f"{where} is not an image that can be read: it is broken, or none of {', '.join(_SUFFIXES)}."
        ) from error
    except Exception as error:  # decoders raise nearly anything on broken content, such as struct.error or TypeError
        raise UnreadableImageError(f"{where} cannot be decoded: {error}") from error
    if colours is None and has_separate_channels(image):
        values = decode_arrays.decode_tiff(content, where)
        bands = len(image.getbands())
        whole = isinstance(values, np.ndarray) and values.dtype == np.uint16 and values.shape[2:] == (bands,)
        return DeepColours(np.asarray(values), image.mode, image) if whole else values
    return colours or image


def decode_file(path: Path) -> Picture:
    """Read and decode an image file. Raises ``UnreadableImageError`` if it cannot be read or decoded."""
    return decode_image(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """Return the content of an image file. Raises ``UnreadableImageError`` if it cannot be read."""
    if is_special(path):
        raise UnreadableImageError(f"{path} is a pipe, a device or a socket; expected a file.")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{path} does not exist.") from error
    except (OSError, ValueError) as error:
        raise UnreadableImageError(f"{path} cannot be read: {error}") from error
