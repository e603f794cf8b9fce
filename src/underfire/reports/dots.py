"""Charts of points as a block of a page: each attack and control by two means, drawn by plotly in the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from underfire.reports.chart import SYMBOL, Numbers, entry_of, legend_entries
from underfire.reports.document import Block
from underfire.reports.layout import as_markup, layout

MANY = 9
"""With more points, the legend names groups of points, and a point has its name where the pointer is."""


@dataclass(frozen=True)
class Dot:
    """One point with its 95 % intervals, from ``low`` to ``high``; each is a pair (x, y).

    Args:
        name: its name.
        role: ``attack``, ``control`` or ``noise``, which sets the mark.
        at, low, high: the means, and the ends of their intervals.
        n: the number of images.
        about: the parts that it is about, by the names of the page's filters.
        group: points with one group have one colour.
        label: stands beside the point, if there are too many points for a legend with all of them.
    """

    name: str
    role: str
    at: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    n: int
    about: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    label: str = ""


@dataclass(frozen=True)
class Dots(Block):
    """A chart of points. Arguments as in ``Chart``; ``legend`` is the meaning of the groups."""

    name: ClassVar[str] = "chart"
    uses_plotly: ClassVar[bool] = True

    title: str
    about: str
    x_title: str
    y_title: str
    dots: Sequence[Dot]
    interpreter: str = ""
    legend: str = ""

    @property
    def crowded(self) -> bool:
        """True if there are too many points for a legend with all of them."""
        return len(self.dots) > MANY

    @property
    def caption(self) -> str:
        """The text below the chart."""
        return self.about + (" Point at a mark to read its name." if self.crowded else "")

    def figure(self) -> dict[str, Any]:
        """Return data and layout for ``Plotly.newPlot``. The page's script adds colours."""
        groups = list(dict.fromkeys(dot.group for dot in self.dots))
        data = [self._trace(dot, groups.index(dot.group) if len(groups) > 1 else None) for dot in self.dots]
        if self.crowded:
            data += legend_entries(groups, {dot.role for dot in self.dots}, "markers")
        y_axis = {"title": {"text": self.y_title}, "range": [-0.04, 1.04], "tickformat": ".0%"}
        found = {**layout(self.x_title, y_axis), "hovermode": "closest", "showlegend": True}
        found["xaxis"]["rangemode"] = "tozero"
        if self.crowded:
            found["legend"]["title"] = {"text": self.legend, "font": {"size": 12.5}}
            found["height"] += 120
        else:
            found["height"] += 9 * len(self.dots)  # room for the legend
        return {"data": data, "layout": found}

    def _trace(self, dot: Dot, place: int | None) -> dict[str, Any]:
        bars = [
            {
                "type": "data",
                "symmetric": False,
                "array": [dot.high[axis] - dot.at[axis]],
                "arrayminus": [dot.at[axis] - dot.low[axis]],
                "thickness": 0.7 if self.crowded else 1.2,
                "width": 0,
            }
            for axis in (0, 1)
        ]
        labelled = bool(self.crowded and dot.label)
        return {
            "type": "scatter",
            "mode": "markers+text" if labelled else "markers",
            "name": as_markup(dot.name),
            "x": [dot.at[0]],
            "y": [dot.at[1]],
            "error_x": bars[0],
            "error_y": bars[1],
            "marker": {"size": 9 if self.crowded else 11, "symbol": SYMBOL.get(dot.role, "x")},
            "meta": {"role": dot.role, "about": dict(dot.about), "place": place},
            "hovertemplate": f"%{{y:.0%}}, distance %{{x:.3f}}, n = {dot.n}",
            **(
                {"text": [as_markup(dot.label)], "textposition": "bottom center", "textfont": {"size": 10}}
                if labelled
                else {}
            ),
            **({"legendgroup": entry_of(dot.role, dot.group), "showlegend": False} if self.crowded else {}),
        }

    def numbers(self) -> Numbers:
        """Return the points as a table, for readers without a picture."""
        rows = [
            (dot.name, [*(f"{dot.at[i]:.3f} ({dot.low[i]:.3f}–{dot.high[i]:.3f})" for i in (0, 1)), str(dot.n)])
            for dot in self.dots
        ]
        return ["mark", self.x_title, self.y_title, "n"], rows
