"""Decoding of colours with 16 bits, of which Pillow by itself keeps the upper 8 only."""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from underfire.data.pixels import DeepColours

_SWAPPED = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA", "RGBX", "CMYK")
    for order, other in (("L", "B"), ("B", "L"), ("N", "B" if sys.byteorder == "little" else "L"))
}
"""Pillow's names of the orders of bytes in a file, each with the other order.

Pillow keeps the upper byte of each value. Decoded in the other order of bytes, the lower byte comes out."""

_BITS, _PLANAR = 258, 284
"""Numbers of TIFF's fields BitsPerSample and PlanarConfiguration (2 if each channel is stored by itself)."""

_HEADER = slice(12, 29)
"""The header of a PNG file after its length: its name, sizes, bit depth (at 24), colour type (at 25), and more."""


def decode_deep(image: ImageFile.ImageFile, content: bytes) -> DeepColours | None:
    """Decode all 16 bits of an image with several channels.

    Args:
        image: an image that Pillow has opened and not loaded; it is loaded here.
        content: the file.

    Returns:
        The image; None if it has 8 bits, or one channel, which Pillow decodes by itself, or is stored in another way.

    Raises:
        Exception: whatever Pillow raises for broken files.
    """
    orders = [_order(tile[3]) for tile in image.tile]
    if image.format == "PNG" and orders == ["LA;16B"]:
        # The four bytes of a pixel are decoded as if they were four channels of 8 bits.
        header = content[_HEADER][:-5] + bytes((8, 6)) + content[_HEADER][-3:]
        bytes_as_channels = content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]
        channels = np.asarray(_open(bytes_as_channels, image)).astype(np.uint16)
        image.load()
        return DeepColours(channels[..., 0::2] << 8 | channels[..., 1::2], "LA", image)
    separate = getattr(image, "tag_v2", {}).get(_PLANAR) == 2  # Pillow takes the upper bytes in either order
    if separate or not orders or not all(order in _SWAPPED for order in orders):
        return None
    lower = _open(content, image)
    tiles: Any = [_swapped(tile) for tile in lower.tile]
    lower.tile = tiles
    image.load()
    values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    hidden = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(hidden, tuple):
        opacity = np.where((values == np.array(hidden)).all(-1, keepdims=True), 0, 65535)
        return DeepColours(np.concatenate((values, opacity.astype(np.uint16)), -1), "RGBA", image)
    return DeepColours(values, image.mode, image)


def has_separate_channels(image: Image.Image) -> bool:
    """Return True if a TIFF file has separate channels of more than 8 bits, which Pillow mistakes for each other."""
    tags: Any = getattr(image, "tag_v2", {})
    bits: Sequence[int] = tags.get(_BITS, ())
    return tags.get(_PLANAR) == 2 and len(image.getbands()) > 1 and max(bits, default=8) > 8


def _open(content: bytes, like: ImageFile.ImageFile) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(content), formats=[str(like.format)])


def _order(args: Any) -> str:
    return str(args[0] if isinstance(args, tuple) else args)


def _swapped(tile: Any) -> Any:
    """Return one of Pillow's descriptions of a part of a file, with the other order of bytes."""
    args = (_SWAPPED[tile[3][0]], *tile[3][1:]) if isinstance(tile[3], tuple) else _SWAPPED[tile[3]]
    return tile._replace(args=args) if hasattr(tile, "_replace") else (*tile[:3], args)  # plain tuples before Pillow 11
