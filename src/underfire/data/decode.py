"""From the bytes of an image file to a decoded image, and to one clear error where that fails."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from underfire.errors import UnreadableImageError

# A fixed list, since Pillow goes by content and not by suffix: an EPS file that is called x.jpg would
# otherwise be handed to Ghostscript.
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

IMAGE_SUFFIXES = frozenset(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)


def decode_image(content: bytes, where: str) -> Image.Image:
    """The decoded image in ``content`` (the first frame of several), its metadata with it.

    Args:
        content: a file in one of the formats JPEG, PNG, WebP, BMP, GIF, TIFF, PPM or JPEG 2000.
        where: what to call the image in an error, such as its path.

    Raises:
        UnreadableImageError: broken, cut off, empty, of another format, or too large to be sane
            (Pillow's limit for decompression bombs, ``PIL.Image.MAX_IMAGE_PIXELS`` x 2).
    """
    if not content:
        raise UnreadableImageError(f"{where} is empty: it holds no bytes of an image.")
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=list(_SUFFIXES))
        image.load()
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        # Pillow's own message holds the address of the buffer, which is another one in every run.
        raise UnreadableImageError(
            f"{where} is not an image that can be read: broken, or none of {', '.join(_SUFFIXES)}."
        ) from error
    except Exception as error:  # on broken content, decoders raise nearly anything: struct.error, TypeError...
        raise UnreadableImageError(f"{where} cannot be decoded: {error}") from error
    return image


def read_bytes(path: Path) -> bytes:
    """The content of an image file. Raises ``UnreadableImageError`` where there is none to read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{path} does not exist.") from error
    except (OSError, ValueError) as error:
        raise UnreadableImageError(f"{path} cannot be read: {error}") from error
