"""Heat maps: a matrix of shares with intervals as a block of a page, such as a transfer matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from underfire.errors import InputError
from underfire.reports import words
from underfire.reports.account import Interval
from underfire.reports.chart import Numbers
from underfire.reports.document import Block
from underfire.reports.layout import as_markup, layout
from underfire.text import plain


@dataclass(frozen=True)
class HeatMap(Block):
    """A matrix of shares, coloured from 0 to 1, with the share written into each cell.

    Args:
        title: the heading.
        about: an explanation, in sentences.
        row_title, column_title: the meaning of rows and columns.
        rows, columns: their names, from top to bottom and from left to right.
        values: for each row, the interval of each column: keys ``mean``, ``low``, ``high`` and ``n``. None is a cell
            without a value.
        interpreter: the interpreter that it is about, for filters; empty if it is about several.
        percent: True for shares, which are coloured from 0 to 1 and shown in percent. Other numbers of at least 0 are
            coloured from 0 to the largest.
    """

    name: ClassVar[str] = "chart"
    uses_plotly: ClassVar[bool] = True

    title: str
    about: str
    row_title: str
    column_title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Interval | None, ...], ...]
    interpreter: str = ""
    percent: bool = True

    @property
    def caption(self) -> str:
        """The text below the chart."""
        return self.about

    def figure(self) -> dict[str, Any]:
        """Return data and layout for ``Plotly.newPlot``. The page's script adds colours."""
        known = [cell["mean"] for row in self.values for cell in row if cell is not None and cell["mean"] is not None]
        trace = {
            "type": "heatmap",
            "z": [[None if cell is None else cell["mean"] for cell in row] for row in self.values],
            "text": [[self._share(cell) for cell in row] for row in self.values],
            "hovertext": [[self._said(cell) for cell in row] for row in self.values],
            "x": list(range(len(self.columns))),
            "y": list(range(len(self.rows))),
            "zmin": 0,
            "zmax": 1 if self.percent else max([*known, 1e-9]),
            "xgap": 2,
            "ygap": 2,
            "texttemplate": "%{text}",
            "textfont": {"size": 14},
            "hovertemplate": "%{hovertext}<extra></extra>",
            "colorbar": {"tickformat": ".0%" if self.percent else ".2f", "thickness": 12, "outlinewidth": 0},
            "meta": {"role": "heat"},
        }
        # Names are labels of places: plotly would take names such as "2" for numbers, and join equal ones.
        axes = [
            {"tickvals": list(range(len(names))), "ticktext": [as_markup(_short(name)) for name in names]}
            for names in (self.columns, self.rows)
        ]
        y_axis = {
            "title": {"text": self.row_title, "standoff": 14},
            "autorange": "reversed",
            "automargin": True,
            **axes[1],
        }
        found = {**layout(self.column_title, y_axis), "showlegend": False, "hovermode": "closest"}
        found["xaxis"] |= {**axes[0], "automargin": True}
        found["yaxis"]["showgrid"] = found["xaxis"]["showgrid"] = False
        found["height"] = 150 + 44 * len(self.rows)
        return {"data": [trace], "layout": found}

    def numbers(self) -> Numbers:
        """Return the matrix as a table, for readers without a picture."""
        rows = [(name, [self._said(cell) for cell in row]) for name, row in zip(self.rows, self.values, strict=True)]
        return [f"{self.row_title} \\ {self.column_title}", *self.columns], rows

    def _share(self, cell: Interval | None) -> str:
        if cell is None or cell["mean"] is None:
            return ""
        return words.percent(cell["mean"]) if self.percent else f"{cell['mean']:.3f}"

    def _said(self, cell: Interval | None) -> str:
        """Write a number with its interval and number of images: ``55 % (37–69 %), n = 40``."""
        if cell is None or cell["mean"] is None:
            return "–"
        if not self.percent:
            return f"{cell['mean']:.3f} ({cell['low']:.3f}–{cell['high']:.3f}), n = {cell['n']}"
        low, high = (words.percent(cell[key]).removesuffix(" %") for key in ("low", "high"))
        return f"{words.percent(cell['mean'])} ({low}–{high} %), n = {cell['n']}"


def heat_map(
    title: str,
    about: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[Interval | None]],
    *,
    row_title: str = "",
    column_title: str = "",
    interpreter: str = "",
    percent: bool = True,
) -> HeatMap:
    """Make a heat map of a matrix of shares, such as joint success by source and target of a transfer.

    Args:
        title: the heading.
        about: an explanation, in sentences.
        rows, columns: their names. Characters that cannot be seen are shown as codes.
        values: an interval for each row and column, as in ``summary.json``: ``mean``, ``low`` and ``high`` (in [0, 1];
            None if no image was measured) and ``n``. None for a cell without a value.
        row_title, column_title: the meaning of rows and columns, such as "attacked" and "read by".
        interpreter: the interpreter that it is about, for the page's filters.
        percent: False for other numbers than shares, such as map distances.

    Returns:
        A block for ``write_document``.

    Raises:
        InputError: the shape of ``values`` is not that of ``rows`` and ``columns``.
    """
    if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        shape = f"{len(values)} rows of {sorted({len(row) for row in values})} values"
        raise InputError(f"values has {shape}; expected {len(rows)} rows of {len(columns)} values, one for each name.")
    names = [tuple(map(plain, found)) for found in (rows, columns)]
    return HeatMap(
        title, about, row_title, column_title, names[0], names[1], tuple(map(tuple, values)), interpreter, percent
    )


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
