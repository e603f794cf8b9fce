"""Small pictures in three classes, and the files of layouts that tests write with them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

NAMES = ("akiec", "mel", "nv")


def level(number: int) -> int:
    """The grey level of picture ``number``: the tests know a picture by it."""
    return 10 * number + 5


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), level(number)).save(buffer, "PNG")
    return buffer.getvalue()


def put(root: Path, *names: str) -> None:
    """Write picture 0, 1, ... to ``root / name``."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
