"""Small pictures of a page: thumbnails and coloured maps, in a folder beside the page or inside it."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image, features

from underfire.drawing.pictures import Pixels, Values, colour, fitted, overlay, veil
from underfire.reports.outline import Mask, outline_path
from underfire.reports.output import storing
from underfire.reports.sound import OURS, digest, folder_of

SMALL = 96
"""Images up to this size in pixels are stored exactly, and their pixels are shown as squares."""
LARGEST = 256
"""Larger images are reduced to this size in pixels."""
LEVELS = 48
"""Maps are rounded to so many levels: more than an eye can tell apart, in a third of the bytes."""
LARGEST_MAP = 96
"""Larger maps are reduced to this size in pixels."""
THUMBNAIL = 80
"""The size of each of the three pictures of a thumbnail, in pixels."""


class PictureFolder:
    """The pictures of a page.

    Args:
        page: the HTML file. The pictures of ``page.html`` lie in the folder ``page_files`` beside it.
        embed: put the pictures into the page instead, as data URIs.

    Attributes:
        digests: the digests of the pictures that are written, by the names of their files.
    """

    def __init__(self, page: Path, embed: bool = False) -> None:
        self.page, self.embed = page, embed
        self.folder = folder_of(page)
        self.digests: dict[str, str] = {}

    def add(self, name: str, content: bytes, kind: str) -> str:
        """Keep a picture.

        Args:
            name: a name of the form ``0-000012-map0``, unique on the page.
            content: the encoded picture.
            kind: its format: ``webp``, ``png``, ``jpeg`` or ``svg``.

        Returns:
            The address for the page.

        Raises:
            StoreError: the file cannot be written.
        """
        if self.embed:
            return _uri(content, "svg+xml" if kind == "svg" else kind)
        file = f"{name}.{kind}"
        with storing(f"page {self.page}"):
            if not self.digests:
                self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / file).write_bytes(content)
        self.digests[file] = digest(content)
        return f"{quote(self.folder.name)}/{file}"

    def of_run(self, path: Path, name: str, pixels: Pixels) -> str:
        """Return the address of an image of a run: the run's own file if browsers show it as it is, or a copy.

        Args:
            path: the run's file.
            name: the name of a copy, as in ``add``.
            pixels: the image as it is shown.
        """
        if self.embed:
            return data_uri(pixels)
        with Image.open(path) as image:
            plain = image.mode in ("L", "RGB") and image.size == (pixels.shape[1], pixels.shape[0])
        if plain:
            try:
                return quote(os.path.relpath(path.resolve(), self.page.parent.resolve()).replace(os.sep, "/"))
            except ValueError:  # on another drive of Windows
                return path.resolve().as_uri()
        return self.add(name, _encoded(Image.fromarray(pixels), "PNG", optimize=True)[0], "png")

    def clean_up(self) -> None:
        """Remove the pictures that an earlier page left in the folder. Files of other names stay."""
        if not self.folder.is_dir():
            return
        with storing(f"page {self.page}"):
            for entry in self.folder.iterdir():
                if OURS.fullmatch(entry.name) and entry.name not in self.digests and not entry.is_dir():
                    entry.unlink()
            if not any(self.folder.iterdir()):
                self.folder.rmdir()


def data_uri(image: Pixels) -> str:
    """Encode an image, uint8 H x W or H x W x 3, as a data URI.

    It is exact up to 96 pixels. Larger images are compressed with loss, and are at most 256 pixels large.
    """
    picture = Image.fromarray(image)
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    if max(picture.size) <= SMALL:
        return _uri(*_encoded(picture, "PNG", optimize=True))
    return _uri(*_lossy(picture, 80))


def map_picture(values: Values) -> tuple[bytes, str]:
    """Encode a map h x w in [0, 1] as a coloured picture that is transparent at 0.

    Values are rounded by at most 1/94, and maps larger than 96 pixels are reduced to it.

    Returns:
        The content, and its format.
    """
    values = np.asarray(values, dtype=np.float32)
    if max(values.shape) > LARGEST_MAP:
        small = Image.fromarray(values)
        small.thumbnail((LARGEST_MAP, LARGEST_MAP), Image.Resampling.BOX)
        values = np.asarray(small)
    picture = Image.fromarray(veil(np.rint(values * (LEVELS - 1)) / (LEVELS - 1)))
    if features.check("webp"):
        return _encoded(picture, "WEBP", lossless=True)
    return _encoded(picture, "PNG", optimize=True)


def thumbnail(image: Pixels, maps: Sequence[tuple[Pixels, Values]]) -> tuple[bytes, str]:
    """Draw an image and its maps side by side, each at most 80 pixels large.

    Args:
        image: uint8 H x W or H x W x 3.
        maps: images of the same shape, each with a map to lay over it.

    Returns:
        The content, and its format.
    """
    pictures = [colour(fitted(image, THUMBNAIL)), *(overlay(fitted(on, THUMBNAIL), values) for on, values in maps)]
    return _lossy(Image.fromarray(np.concatenate(pictures, axis=1)), 65)


def outline_picture(mask: Mask) -> tuple[bytes, str]:
    """Draw the outline of a mask H x W as a picture that lies over an image: white, with a dark edge."""
    path, (height, width) = outline_path(mask), mask.shape
    style = 'fill="none" vector-effect="non-scaling-stroke" stroke-linecap="square"'
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" preserveAspectRatio="none">'
        f'<path {style} stroke="#000" stroke-opacity=".65" stroke-width="3" d="{path}"/>'
        f'<path {style} stroke="#fff" stroke-width="1.3" d="{path}"/></svg>'
    )
    return text.encode("ascii"), "svg"


def _lossy(picture: Image.Image, quality: int) -> tuple[bytes, str]:
    return _encoded(picture, "WEBP" if features.check("webp") else "JPEG", quality=quality)


def _encoded(picture: Image.Image, kind: str, **options: object) -> tuple[bytes, str]:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue(), kind.lower()


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
