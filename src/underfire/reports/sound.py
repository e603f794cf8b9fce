"""Checking pages and figures that were written before: the last line of a page is a hash of all above it."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

OURS = re.compile(r"\d+-\d{6}-[a-z0-9]+\.(webp|png|jpeg|svg)", re.ASCII)
"""The names of the pictures of a page."""

_LAST = re.compile(rb"<!-- sha256 of this page and its pictures: ([0-9a-f]{64}) -->\n", re.ASCII)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def folder_of(page: Path) -> Path:
    """Return the folder for the pictures of a page: ``page_files`` for ``page.html``."""
    return page.with_name(f"{page.stem}_files")


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def last_line(text: str, pictures: Mapping[str, str]) -> str:
    """Write the last line of a page.

    Args:
        text: everything above it.
        pictures: the digests of the page's pictures, by the names of their files.
    """
    return f"<!-- sha256 of this page and its pictures: {_together(text.encode(), pictures)} -->\n"


def page_is_sound(page: Path) -> bool:
    """Return True if a page, and each of its pictures, is there as it was written."""
    try:
        content, folder = page.read_bytes(), folder_of(page)
        files = [path for path in folder.iterdir() if OURS.fullmatch(path.name)] if folder.is_dir() else []
        pictures = {path.name: digest(path.read_bytes()) for path in files}
    except OSError:
        return False
    above, last = content[: content.rfind(b"\n", 0, -1) + 1], content[content.rfind(b"\n", 0, -1) + 1 :]
    found = _LAST.fullmatch(last)
    return found is not None and found[1].decode() == _together(above, pictures)


def is_of_earlier_version(page: Path) -> bool:
    """Return True if a page ends as those of earlier versions of underfire did: without a hash, after its markup."""
    try:
        return page.read_bytes().rstrip().endswith(b"</html>")
    except OSError:
        return False


def figure_is_sound(figure: Path) -> bool:
    """Return True if a PNG file is there, and the checksums of all its parts fit."""
    try:
        content = figure.read_bytes()
    except OSError:
        return False
    begin, kind = len(_SIGNATURE), b""
    while begin + 12 <= len(content) and kind != b"IEND":
        end = begin + 8 + int.from_bytes(content[begin : begin + 4])
        kind = content[begin + 4 : begin + 8]
        if zlib.crc32(content[begin + 4 : end]) != int.from_bytes(content[end : end + 4]):
            return False
        begin = end + 4
    return content.startswith(_SIGNATURE) and kind == b"IEND" and begin == len(content)


def _together(text: bytes, pictures: Mapping[str, str]) -> str:
    lines = "".join(f"{name} {held}\n" for name, held in sorted(pictures.items()))
    return digest(text + lines.encode())
