"""Sortable tables as a block of a page: each number with its interval, and n in the last column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from underfire.attacks.measure import Measure
from underfire.reports.account import Interval
from underfire.reports.columns import ARROWS, as_text
from underfire.reports.document import Block

MANY_ROWS = 12
"""Tables with more rows have a field to search in."""

TALL = 40
"""Tables with more rows scroll by themselves."""


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Args:
        heading: its name.
        meaning: an explanation that is shown when the reader points at the heading.
        arrow: the direction that is better for the attack; may be empty.
    """

    heading: str
    meaning: str = ""
    arrow: str = ""


@dataclass(frozen=True)
class Cell:
    """A number as text, with its interval as text; ``value`` is the number to sort by."""

    mean: str
    interval: str
    value: float


@dataclass(frozen=True)
class TableRow:
    """A row.

    Args:
        names: a text for each of the first columns.
        cells: a number for each further column; None if there is none.
        n: the number of images.
        what: a remark below the first name; may be empty.
        kind: ``attack``, ``control``, ``chance``, ``difference`` or another word for the style.
        about: the parts that it is about, by the names of the page's filters.
    """

    names: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    n: int
    what: str = ""
    kind: str = ""
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SortableTable(Block):
    """A table that is sorted by a click on a heading.

    Args:
        caption: a heading above the table.
        heads: the headings of the first columns, which hold texts.
        columns: the columns of numbers.
        rows: the rows.
    """

    name: ClassVar[str] = "sortable"

    caption: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]

    @property
    def tall(self) -> bool:
        """True if the table is so long that it scrolls by itself, so that the rest of the page stays near."""
        return len(self.rows) > TALL

    @property
    def searched(self) -> bool:
        """True if the table is long enough for a field to search in."""
        return len(self.rows) > MANY_ROWS


def headings(measures: Sequence[Measure]) -> tuple[Column, ...]:
    """Make a column for each measure."""
    return tuple(
        Column(
            measure.heading,
            measure.meaning + ("" if measure.better == "neither" else f"; {measure.better} is better for the attack"),
            ARROWS[measure.better],
        )
        for measure in measures
    )


def number_cell(interval: Interval | None, digits: int, signed: bool = False) -> Cell | None:
    """Make a cell of a mean with its interval; None if no image has a value.

    Args:
        interval: keys ``mean``, ``low`` and ``high``.
        digits: the number of digits after the point.
        signed: write a plus before positive numbers.
    """
    found = as_text(interval, digits, signed)
    if found is None or interval is None:
        return None
    mean, low, high = (text.replace("-", "−") for text in found)
    # A dash between two numbers cannot be told from the minus of the second one.
    between = " to " if signed or high.startswith("−") else "–"
    return Cell(mean, f"{low}{between}{high}", float(interval["mean"]))
