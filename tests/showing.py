"""The parts of a display in a notebook, read back from its HTML."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from underfire.drawing.notebook import SIDE
from underfire.drawing.pictures import Pixels, Values, colour, fitted, overlay


class Display(HTMLParser):
    """Collects the rows of the table, the pictures, the captions, and the names of all elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.pictures: list[tuple[str, Pixels]] = []
        self.texts: list[str] = []
        self.elements: set[str] = set()
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "img":
            given = dict(attrs)
            assert set(given) == {"src", "alt"}
            kind, data = (given["src"] or "").split(",")
            assert kind == "data:image/png;base64"
            self.pictures.append((given["alt"] or "", np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))))
        else:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] in ("td", "th"):
            self.rows[-1].append(data)
        elif data.strip():
            self.texts.append(data)


def interval(text: str) -> tuple[float, ...]:
    """Reads ``0.920 [0.800, 1.000]``."""
    return tuple(float(number) for number in re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", text).groups())  # type: ignore[union-attr]


def pictures_of(clean: Pixels, adversarial: Pixels, before: Values, after: Values) -> list[Pixels]:
    """The four pictures of one image: clean, adversarial, and the maps before and after over them."""
    small = [fitted(picture, SIDE) for picture in (clean, adversarial)]
    maps = [overlay(picture, values) for picture, values in zip(small, (before, after), strict=True)]
    return [*map(colour, small), *maps]
