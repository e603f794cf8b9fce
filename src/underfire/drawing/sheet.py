"""Sheets: rows of pictures with captions, and lines of text between them, as one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from underfire.drawing.pictures import Pixels, colour
from underfire.text import ascii_only

INK, MUTED, PAPER = (28, 30, 38), (98, 103, 116), (255, 255, 255)
MARGIN, GAP, UNIT_GAP = 20, 6, 22
BODY = 14

Tone = Literal["ink", "muted"]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Text:
    """A text over the whole width, wrapped if it is long, and shown in ASCII.

    Args:
        text: the text.
        size: the font size in pixels.
        tone: black, or grey for less important text.
        above: free pixels above it.
    """

    text: str
    size: int = BODY
    tone: Tone = "ink"
    above: int = 0


@dataclass(frozen=True)
class Unit:
    """Pictures side by side that belong together.

    Args:
        pictures: uint8 H x W or H x W x 3 each.
        heads: a text above each picture.
        notes: a text below each picture.
        caption: a text below the whole unit.
        title: a text above the whole unit.
    """

    pictures: tuple[Pixels, ...]
    heads: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    caption: str = ""
    title: str = ""

    @property
    def width(self) -> int:
        """The width in pixels."""
        width: int = sum(picture.shape[1] for picture in self.pictures)
        return width + GAP * (len(self.pictures) - 1)


@dataclass(frozen=True)
class Band:
    """Units side by side."""

    units: tuple[Unit, ...]

    @property
    def width(self) -> int:
        """The width in pixels."""
        return sum(unit.width for unit in self.units) + UNIT_GAP * (len(self.units) - 1)


def sheet(parts: Sequence[Text | Band], least_width: int = 480) -> Image.Image:
    """Draw the parts below each other, on white, at least ``least_width`` pixels wide without the margins."""
    width = max([least_width, *(part.width for part in parts if isinstance(part, Band))])
    # Lay out twice: the first time only to learn the height, the second time to draw.
    height = _lay_out(ImageDraw.Draw(Image.new("RGB", (1, 1))), None, parts, width)
    image = Image.new("RGB", (width + 2 * MARGIN, height), PAPER)
    _lay_out(ImageDraw.Draw(image), image, parts, width)
    return image


def _lay_out(draw: ImageDraw.ImageDraw, image: Image.Image | None, parts: Sequence[Text | Band], width: int) -> int:
    """Draw the parts, and return the height of the sheet. If ``image`` is None, no pictures are drawn."""
    y = MARGIN
    for part in parts:
        if isinstance(part, Text):
            y += part.above
            y = _write(draw, part.text, MARGIN, y, width, part.size, part.tone) + GAP
        else:
            y = _band(draw, image, part, y) + GAP
    return y + MARGIN - GAP


def _band(draw: ImageDraw.ImageDraw, image: Image.Image | None, band: Band, top: int) -> int:
    x, tops = MARGIN, []
    for unit in band.units:  # titles and heads come first: the pictures of all units begin below the lowest head
        y = _write(draw, unit.title, x, top, unit.width, BODY + 1, "ink") if unit.title else top
        tops.append(_columns(draw, unit, unit.heads, x, y, "muted"))
        x += unit.width + UNIT_GAP
    x, y, bottoms = MARGIN, max(tops) + (4 if max(tops) > top else 0), []
    for unit in band.units:
        left = x
        for picture in unit.pictures:
            if image is not None:
                image.paste(Image.fromarray(np.ascontiguousarray(colour(picture))), (left, y))
            left += picture.shape[1] + GAP
        under = y + max(picture.shape[0] for picture in unit.pictures) + 3
        under = _columns(draw, unit, unit.notes, x, under, "ink")
        bottoms.append(_write(draw, unit.caption, x, under, unit.width, BODY - 1, "ink") if unit.caption else under)
        x += unit.width + UNIT_GAP
    return max(bottoms)


def _columns(draw: ImageDraw.ImageDraw, unit: Unit, texts: Sequence[str], x: int, y: int, tone: Tone) -> int:
    """Write one text for each picture of the unit; there may be fewer texts. Return the lowest end."""
    ends = [y]
    for picture, text in zip(unit.pictures, texts, strict=False):
        ends.append(_write(draw, text, x, y, picture.shape[1] + GAP, BODY - 1, tone))
        x += picture.shape[1] + GAP
    return max(ends)


def _write(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, width: int, size: int, tone: Tone) -> int:
    """Write wrapped text. Return the y at which a next line would begin."""
    font, ink = _font(size), INK if tone == "ink" else MUTED
    for line in wrapped(ascii_only(text), width, size):
        draw.text((x, y), line, fill=ink, font=font)
        y += round(1.3 * size)
    return y


def wrapped(text: str, width: int, size: int) -> list[str]:
    """Cut text into lines of at most ``width`` pixels. Only words that are longer than a line are broken."""
    font, lines = _font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines


@lru_cache(maxsize=8)
def _font(size: int) -> Font:
    """Return Pillow's built-in font, which is the same on every machine."""
    return ImageFont.load_default(size)
