"""Charts: curves and points as a block of a page, drawn by plotly in the browser."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from underfire.reports.account import spread
from underfire.reports.document import Block
from underfire.reports.layout import HEIGHTS, Mark, as_markup, layout, line_of, word_of


@dataclass(frozen=True)
class Line:
    """One curve.

    Args:
        name: its name in the legend.
        role: ``attack``, ``control`` or ``chance``.
        x: the places.
        y: the values; None leaves a gap.
        low, high: the ends of the 95 % interval at each place; empty if there is none.
        about: the parts that it is about, by the names of the page's filters.
        place: lines with one place have one colour: an attack and its control. -1 is grey, for a control that several
            attacks share.
        group: in a crowded chart, the name of the colour in the legend.
        limit: a place (x, y) on the curve that gets a dot; None for none.
    """

    name: str
    role: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    place: int = 0
    group: str = ""
    limit: tuple[float, float] | None = None


Numbers = tuple[list[str], list[tuple[str, list[str]]]]
"""The headings of a table, and its rows: a name and texts."""


@dataclass(frozen=True)
class Chart(Block):
    """One chart of curves.

    With more than ``CROWD`` attacks it is crowded: the legend names groups of curves, intervals are in the table alone,
    and a curve has its name where the pointer is.

    Args:
        title: the heading.
        about: an explanation of the curves, in sentences.
        x_title, y_title: the names of the axes.
        lines: the curves.
        marks: vertical lines with a word above them.
        y_range: the ends of the y axis; found by plotly if None.
        percent: True if y is a share in [0, 1] that is shown in percent.
        interpreter: the interpreter that it is about, for filters; empty if it is about several.
        legend: the meaning of the groups, such as "classifier".
    """

    name: ClassVar[str] = "chart"
    uses_plotly: ClassVar[bool] = True

    title: str
    about: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    y_range: tuple[float, float] | None = None
    percent: bool = False
    interpreter: str = ""
    legend: str = ""

    @property
    def crowded(self) -> bool:
        """True if there are too many attacks for a legend with all of them."""
        return sum(line.role == "attack" for line in self.lines) > CROWD

    @property
    def caption(self) -> str:
        """The text below the chart."""
        more = " Point at a curve to read its name. The intervals are in the table." if self.crowded else ""
        return self.about + more

    def figure(self) -> dict[str, Any]:
        """Return data and layout for ``Plotly.newPlot``. The page's script adds colours."""
        y_axis: dict[str, Any] = {"title": {"text": self.y_title}, "rangemode": "tozero"}
        if self.y_range:
            y_axis["range"] = list(self.y_range)
        if self.percent:
            y_axis["tickformat"] = ".0%"
        groups = list(dict.fromkeys(line.group for line in self.lines if line.role == "attack"))
        several = len({line.place for line in self.lines}) > 1
        data = []
        for line in self.lines:
            place = groups.index(line.group) if line.group in groups else -1
            data += self._traces(line, place if self.crowded else line.place if several else None)
        if self.crowded:
            data += legend_entries(groups, {line.role for line in self.lines}, "lines")
        found = layout(self.x_title, y_axis, min(HEIGHTS, len(self.marks)))
        if self.crowded:
            found["legend"]["title"] = {"text": self.legend, "font": {"size": 12.5}}
        return {
            "data": data,
            "layout": {
                **found,
                "hovermode": "closest" if self.crowded else "x unified",
                "showlegend": len(self.lines) > 1,
                "shapes": [line_of(mark) for mark in self.marks],
                "annotations": [word_of(mark, place) for place, mark in enumerate(self.marks)],
            },
        }

    def _traces(self, line: Line, place: int | None) -> list[dict[str, Any]]:
        """Return the curve, after the band of its interval if it has one, and before its dot if it has one."""
        meta = {"role": line.role, "about": dict(line.about), "place": place}
        value = f"%{{y:{'.0%' if self.percent else '.3f'}}}"
        width = (1.6 if line.role == "attack" else 1) if self.crowded else (2.5 if line.role == "attack" else 2)
        curve = {
            "type": "scatter",
            "mode": "lines",
            "name": as_markup(line.name),
            "x": list(line.x),
            "y": list(line.y),
            "meta": meta,
            "legendgroup": entry_of(line.role, line.group) if self.crowded else f"{line.role} {line.name}",
            "showlegend": not self.crowded,
            "line": {"width": width, "dash": _DASH.get(line.role, "dot")},
            "hovertemplate": f"{value} at %{{x:.3g}}" if self.crowded else value,
        }
        common = {name: curve[name] for name in ("type", "name", "legendgroup")} | {"showlegend": False}
        dots = []
        if line.limit is not None:
            x, y = line.limit
            said = f"limit %{{x:.3f}}: {value}"
            dot = {"mode": "markers", "x": [x], "y": [y], "marker": {"size": 8}, "meta": meta, "hovertemplate": said}
            dots.append(common | dot)
        if not line.low or self.crowded:
            return [curve, *dots]
        known = [i for i in range(len(line.x)) if line.low[i] is not None and line.high[i] is not None]
        band = common | {
            "mode": "lines",
            "x": [line.x[i] for i in known] + [line.x[i] for i in reversed(known)],
            "y": [line.low[i] for i in known] + [line.high[i] for i in reversed(known)],
            "meta": {**meta, "band": True},
            "fill": "toself",
            "line": {"width": 0},
            "hoverinfo": "skip",
        }
        return [band, curve, *dots]

    def numbers(self) -> Numbers:
        """Return the curves as a table, for readers without a picture: a column for each curve, or a row if crowded."""
        if self.crowded:
            chosen = self._chosen(6)
            each = zip(self.lines, self._at, strict=True)
            return (
                [self.x_title, *(f"{x:g}" for x in chosen)],
                [(line.name, [_text(line, at.get(x)) for x in chosen]) for line, at in each],
            )
        rows = [
            (f"{x:g}", [_text(line, at.get(x)) for line, at in zip(self.lines, self._at, strict=True)])
            for x in self._chosen(11)
        ]
        return [self.x_title, *(line.name for line in self.lines)], rows

    def table(self, rows: int = 11) -> list[tuple[float, list[float | None]]]:
        """List at most ``rows`` rows: a value of x, and the y of each line there (None for a gap).

        The rows are evenly spaced over all values of x, the first and the last included.
        """
        found = []
        for x in self._chosen(rows):
            places = [at.get(x) for at in self._at]
            ys = [None if place is None else line.y[place] for line, place in zip(self.lines, places, strict=True)]
            found.append((x, ys))
        return found

    def _chosen(self, rows: int) -> list[float]:
        xs = sorted({x for line in self.lines for x in line.x})
        return [xs[place] for place in spread(xs, rows)]

    @property
    def _at(self) -> list[dict[float, int]]:
        return [{x: place for place, x in enumerate(line.x)} for line in self.lines]


_DASH = {"attack": "solid", "control": "dash"}


CROWD = 3
"""With more attacks, a chart is crowded."""

COLOURS = 6
"""The number of colours of curves and points."""

ROLES = {"control": "prediction only", "noise": "random noise"}
"""The controls in the legend of a crowded chart."""


def entry_of(role: str, group: str) -> str:
    """Return the entry of a crowded chart's legend that a curve or point belongs to."""
    return ROLES.get(role, group)


def legend_entries(groups: Sequence[str], roles: Collection[str], mode: str) -> list[dict[str, Any]]:
    """Make the legend of a crowded chart: a trace without points for each group of attacks, and for each control.

    A click on an entry hides all traces with its ``legendgroup``.

    Args:
        groups: the names of the groups, in the order of their colours.
        roles: the roles in the chart.
        mode: ``lines`` or ``markers``.
    """
    asked = [("attack", group, place) for place, group in enumerate(groups)]
    asked += [(role, "", -1) for role in ROLES if role in roles]
    return [
        {
            "type": "scatter",
            "mode": mode,
            "x": [None],
            "y": [None],
            "name": as_markup(entry_of(role, group)),
            "legendgroup": entry_of(role, group),
            "showlegend": True,
            "line": {"width": 2.5, "dash": _DASH.get(role, "dot")},
            "marker": {"size": 10, "symbol": SYMBOL.get(role, "x")},
            "meta": {"role": role, "about": {}, "place": place, "entry": True},
        }
        for role, group, place in asked
    ]


SYMBOL = {"attack": "circle", "control": "diamond-open", "noise": "cross-thin-open"}
"""The marks of points, by role."""


def _text(line: Line, place: int | None) -> str:
    value = None if place is None else line.y[place]
    if place is None or value is None:
        return "–"
    low, high = (ends[place] if ends else None for ends in (line.low, line.high))
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f}–{high:.3f})"
