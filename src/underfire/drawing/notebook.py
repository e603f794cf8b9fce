"""The display of results in notebooks: a table, and a few images with their maps."""

from __future__ import annotations

import base64
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from underfire import metrics
from underfire.arguments import whole_number
from underfire.drawing.pictures import Pixels, Values, colour, fitted, overlay
from underfire.drawing.sheet import Band, Text, Unit, sheet
from underfire.metrics import Interval
from underfire.metrics.statistics import Values as PerImage
from underfire.text import plain

SIDE = 128
"""The size of pictures in pixels."""
EXAMPLES = 3
"""The number of images that a notebook shows."""

HEADINGS = ("attack", "explanation", "class reached", "map L1", "joint success")
LEGEND = (
    "Map L1: mean absolute difference to the wanted map. Joint success: the class was reached, and the map is nearer "
    "to the wanted map than the limit."
)
_CELL = "padding:2px 10px;text-align:left;vertical-align:top"


@dataclass(frozen=True)
class TableRow:
    """One row of the table: an attack or control, as one interpreter reads it.

    Args:
        attack: the name of the attack or control.
        interpreter: the name of the interpreter.
        success: one flag per image: the class was reached.
        distance: the distance of each map to the wanted map.
        joint: the mean of joint success, with its interval.
        is_attack: True for the attack, whose row is bold.
    """

    attack: str
    interpreter: str
    success: PerImage
    distance: PerImage
    joint: Interval
    is_attack: bool = False

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the row, in the order of ``HEADINGS``."""
        numbers = map(_interval, (metrics.interval(self.success), metrics.interval(self.distance), self.joint))
        return (plain(self.attack), plain(self.interpreter), *numbers)


@dataclass(frozen=True)
class Example:
    """One image with its maps.

    Args:
        caption: a line below the pictures.
        pictures: uint8 H x W x 3, by title.
    """

    caption: str
    pictures: dict[str, Pixels]


@dataclass(frozen=True)
class Shown:
    """The content of a display.

    Args:
        title: a line above everything.
        rows: the rows of the table.
        examples: the images.
        remark: a line below the table.
    """

    title: str
    rows: Sequence[TableRow]
    examples: Sequence[Example]
    remark: str


class InNotebook(ABC):
    """A result that shows itself in a notebook, and gives a picture."""

    @abstractmethod
    def _shown(self, count: int, interpreter: str | None) -> Shown:
        """Collect the content: the table, and ``count`` images with the maps of ``interpreter``, or of the first."""

    def figure(self, count: int = EXAMPLES, interpreter: str | None = None) -> Image.Image:
        """Draw some images with their maps: clean, adversarial, map before, map after.

        Args:
            count: the number of images, at least 1. They are spread evenly over those that were classified correctly
                before the attack.
            interpreter: the interpreter of the maps; if None, the first one that is attacked.

        Returns:
            The picture; notebooks show it, and ``picture.save("figure.png")`` writes it.

        Raises:
            InputError: ``count`` is less than 1, or there is no such interpreter.
        """
        count = whole_number("count", count, 1)
        shown = self._shown(count, interpreter)
        bands = [
            Band((Unit(tuple(example.pictures.values()), tuple(example.pictures), caption=example.caption),))
            for example in shown.examples
        ]
        return sheet([Text(shown.title, 20), *bands])

    def _repr_html_(self) -> str:
        return html(self._shown(EXAMPLES, None))


def places(correct: Sequence[bool], count: int) -> list[int]:
    """Choose the images to show: ``count`` places, spread evenly over those that are True; all if there are fewer."""
    known = np.flatnonzero(np.asarray(correct, dtype=bool))
    return [int(place) for place in known[np.unique(np.linspace(0, len(known) - 1, min(count, len(known)), dtype=int))]]


def example(said: str, clean: Pixels, adversarial: Pixels, maps: dict[str, tuple[Pixels, Values]]) -> Example:
    """Draw one image: clean and adversarial, and each map over the image that it was read from.

    Args:
        said: a line below the pictures; see ``caption``.
        clean, adversarial: uint8 H x W or H x W x 3.
        maps: by title, an image and a map h x w in [0, 1].
    """
    pictures = {"clean": colour(fitted(clean, SIDE)), "adversarial": colour(fitted(adversarial, SIDE))}
    return Example(said, pictures | {name: overlay(fitted(on, SIDE), values) for name, (on, values) in maps.items()})


def caption(label: str, target: str, success: bool, joint: bool, keeps: bool) -> str:
    """Write what became of an image: ``cat -> corn: reached, map kept``.

    Args:
        label, target: names of the image's own class and of the target class.
        success: the class was reached.
        joint: joint success.
        keeps: the wanted map is the benign map.
    """
    done = "kept" if keeps else "reached"
    verdict = f"reached, map {done if joint else f'not {done}'}" if success else "not reached"
    return plain(f"{label} -> {target}: {verdict}")


def html(shown: Shown) -> str:
    """Write the display as HTML that needs no other file. All texts are escaped: names of classes may hold anything."""
    head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in HEADINGS)
    lines = [f"<p><b>{escape(plain(shown.title))}</b></p>", f"<table><thead><tr>{head}</tr></thead><tbody>"]
    for row in shown.rows:
        weight = ";font-weight:bold" if row.is_attack else ""
        cells = "".join(f'<td style="{_CELL}{weight}">{escape(text)}</td>' for text in row.cells)
        lines.append(f"<tr>{cells}</tr>")
    lines.append(f"</tbody></table><p>{escape(f'{shown.remark} {LEGEND}')}</p>")
    for each in shown.examples:
        pictures = "".join(_figure(title, pixels) for title, pixels in each.pictures.items())
        lines.append(f'<div style="margin-top:8px">{pictures}<div>{escape(plain(each.caption))}</div></div>')
    return "<div>" + "\n".join(lines) + "</div>"


def _figure(title: str, pixels: Pixels) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
    name = escape(plain(title))
    return (
        '<figure style="display:inline-block;margin:0 6px 0 0;vertical-align:top">'
        f'<figcaption style="font-size:85%">{name}</figcaption><img src="{source}" alt="{name}"></figure>'
    )


def _interval(found: Interval) -> str:
    if found.mean is None:
        return "-"
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
