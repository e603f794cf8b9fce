"""Charts: curves and points as a block of a page, drawn by plotly in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from underfire.reports.account import spread
from underfire.reports.document import Block


@dataclass(frozen=True)
class Line:
    """One curve.

    Args:
        name: its name in the legend.
        role: ``attack``, ``control`` or ``chance``.
        x: the places.
        y: the values; None leaves a gap.
        low, high: the ends of the 95 % interval at each place; empty if there is none.
        attack: the attack that it is about, for filters.
        place: lines with one place have one colour: an attack and its control. -1 is grey, for a control that several
            attacks share.
    """

    name: str
    role: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    attack: str = ""
    place: int = 0


@dataclass(frozen=True)
class Mark:
    """A vertical line at ``x``, with ``text`` beside it."""

    x: float
    text: str


Numbers = tuple[list[str], list[tuple[str, list[str]]]]
"""The headings of a table, and its rows: a name and texts."""


@dataclass(frozen=True)
class Chart(Block):
    """One chart.

    Args:
        title: the heading.
        about: an explanation of the curves, in sentences.
        x_title, y_title: the names of the axes.
        lines: the curves.
        marks: vertical lines with a word beside them.
        y_range: the ends of the y axis; found by plotly if None.
        percent: True if y is a share in [0, 1] that is shown in percent.
        interpreter: the interpreter that it is about, for filters; empty if it is about several.
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

    def figure(self) -> dict[str, Any]:
        """Return data and layout for ``Plotly.newPlot``. The page's script adds colours."""
        y_axis: dict[str, Any] = {"title": {"text": self.y_title}, "rangemode": "tozero"}
        if self.y_range:
            y_axis["range"] = list(self.y_range)
        if self.percent:
            y_axis["tickformat"] = ".0%"
        several = len({line.place for line in self.lines}) > 1
        return {
            "data": [trace for line in self.lines for trace in self._traces(line, several)],
            "layout": {
                **layout(self.x_title, y_axis),
                "hovermode": "x unified",
                "showlegend": len(self.lines) > 1,
                "shapes": [_line(mark) for mark in self.marks],
                "annotations": [_word(mark, place) for place, mark in enumerate(self.marks)],
            },
        }

    def _traces(self, line: Line, several: bool) -> list[dict[str, Any]]:
        """Return the curve, after the band of its interval if it has one."""
        meta = {"role": line.role, "attack": line.attack, "place": line.place if several else None}
        curve = {
            "type": "scatter",
            "mode": "lines",
            "name": as_markup(line.name),
            "x": list(line.x),
            "y": list(line.y),
            "meta": meta,
            "legendgroup": f"{line.role} {line.name}",
            "line": {"width": 2.5 if line.role == "attack" else 2, "dash": _DASH.get(line.role, "dot")},
            "hovertemplate": f"%{{y:{'.0%' if self.percent else '.3f'}}}",
        }
        if not line.low:
            return [curve]
        known = [i for i in range(len(line.x)) if line.low[i] is not None and line.high[i] is not None]
        band = {
            "type": "scatter",
            "mode": "lines",
            "x": [line.x[i] for i in known] + [line.x[i] for i in reversed(known)],
            "y": [line.low[i] for i in known] + [line.high[i] for i in reversed(known)],
            "meta": {**meta, "band": True},
            "legendgroup": curve["legendgroup"],
            "fill": "toself",
            "line": {"width": 0},
            "hoverinfo": "skip",
            "showlegend": False,
        }
        return [band, curve]

    def numbers(self) -> Numbers:
        """Return the curves as a table, for readers without a picture."""
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


def layout(x_title: str, y_axis: dict[str, Any]) -> dict[str, Any]:
    """Return the layout that all charts share, for plotly."""
    return {
        "margin": {"l": 64, "r": 12, "t": 26, "b": 52},
        "height": 300,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"title": {"text": x_title, "standoff": 8}, "zeroline": False, "fixedrange": True},
        "yaxis": {**y_axis, "zeroline": False, "fixedrange": True},
        "shapes": [],
        "annotations": [],
    }


def as_markup(text: str) -> str:
    """Escape text for plotly, which reads a few HTML tags in names."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(line: Line, place: int | None) -> str:
    value = None if place is None else line.y[place]
    if place is None or value is None:
        return "–"
    low, high = (ends[place] if ends else None for ends in (line.low, line.high))
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f}–{high:.3f})"


def _line(mark: Mark) -> dict[str, Any]:
    ends = {"x0": mark.x, "x1": mark.x, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", **ends, "line": {"width": 1, "dash": "dot"}}


def _word(mark: Mark, number: int) -> dict[str, Any]:
    # Neighbouring marks may be close together on a narrow screen: their words stand at three different heights.
    place = {
        "x": mark.x,
        "y": 0.02 + 0.07 * (number % 3),
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": 4,
    }
    return {"text": as_markup(mark.text), "showarrow": False, **place}


@dataclass(frozen=True)
class Dot:
    """One point with its 95 % intervals, from ``low`` to ``high``; each is a pair (x, y)."""

    name: str
    role: str
    at: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    n: int
    attack: str = ""
    interpreter: str = ""


@dataclass(frozen=True)
class Dots(Block):
    """A chart of points: each attack and control by two means. Arguments as in ``Chart``."""

    name: ClassVar[str] = "chart"
    uses_plotly: ClassVar[bool] = True

    title: str
    about: str
    x_title: str
    y_title: str
    dots: Sequence[Dot]
    interpreter: str = ""

    def figure(self) -> dict[str, Any]:
        """Return data and layout for ``Plotly.newPlot``. The page's script adds colours."""
        places = {name: place for place, name in enumerate(dict.fromkeys(dot.interpreter for dot in self.dots))}
        several = len(places) > 1
        data = []
        for dot in self.dots:
            bars = [
                {
                    "type": "data",
                    "symmetric": False,
                    "array": [dot.high[axis] - dot.at[axis]],
                    "arrayminus": [dot.at[axis] - dot.low[axis]],
                    "thickness": 1.2,
                    "width": 0,
                }
                for axis in (0, 1)
            ]
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": as_markup(dot.name),
                    "x": [dot.at[0]],
                    "y": [dot.at[1]],
                    "error_x": bars[0],
                    "error_y": bars[1],
                    "marker": {"size": 11, "symbol": _SYMBOL.get(dot.role, "x")},
                    "meta": {
                        "role": dot.role,
                        "attack": dot.attack,
                        "interpreter": dot.interpreter,
                        "place": places[dot.interpreter] if several else None,
                    },
                    "hovertemplate": f"%{{y:.0%}}, distance %{{x:.3f}}, n = {dot.n}",
                }
            )
        y_axis = {"title": {"text": self.y_title}, "range": [-0.04, 1.04], "tickformat": ".0%"}
        found = {**layout(self.x_title, y_axis), "hovermode": "closest", "showlegend": True}
        found["xaxis"]["rangemode"] = "tozero"
        found["height"] += 9 * len(self.dots)  # room for the legend
        return {"data": data, "layout": found}

    def numbers(self) -> Numbers:
        """Return the points as a table, for readers without a picture."""
        rows = [
            (dot.name, [*(f"{dot.at[i]:.3f} ({dot.low[i]:.3f}–{dot.high[i]:.3f})" for i in (0, 1)), str(dot.n)])
            for dot in self.dots
        ]
        return ["", self.x_title, self.y_title, "n"], rows


_SYMBOL = {"attack": "circle", "control": "diamond-open", "noise": "cross-thin-open"}
