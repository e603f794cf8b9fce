"""The page's curves, as data for plotly: joint success by threshold; success and map distance by step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from underfire.attacks.limits import Numbers
from underfire.reports.account import Account, spread
from underfire.reports.words import origin
from underfire.runs.folder import numbers
from underfire.text import plain

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Line:
    """One curve. ``role`` is ``attack`` or ``control``; None in ``y`` leaves a gap."""

    name: str
    role: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]


@dataclass(frozen=True)
class Mark:
    """A vertical line at ``x``, with ``text`` beside it."""

    x: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One chart.

    Args:
        title: the heading.
        about: an explanation of the curves, in sentences.
        x_title, y_title: the names of the axes.
        lines: the curves.
        marks: vertical lines with a word beside them.
        y_range: the ends of the y axis; found by plotly if None.
        percent: True if y is a share in [0, 1] that is shown in percent.
    """

    title: str
    about: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    y_range: tuple[float, float] | None = None
    percent: bool = False

    def figure(self) -> dict[str, Any]:
        """Return data and layout for ``Plotly.newPlot``. The page's script adds colours."""
        data = [
            {
                "type": "scatter",
                "mode": "lines",
                "name": line.name,
                "x": list(line.x),
                "y": list(line.y),
                "meta": line.role,
                "line": {"width": 2.5 if line.role == "attack" else 2, "dash": _DASH.get(line.role, "dot")},
                "hovertemplate": f"%{{y:{'.0%' if self.percent else '.3f'}}}",
            }
            for line in self.lines
        ]
        y_axis: dict[str, Any] = {"title": {"text": self.y_title}, "rangemode": "tozero", "zeroline": False}
        if self.y_range:
            y_axis["range"] = list(self.y_range)
        if self.percent:
            y_axis["tickformat"] = ".0%"
        return {
            "data": data,
            "layout": {
                "margin": {"l": 56, "r": 12, "t": 26, "b": 52},
                "height": 300,
                "hovermode": "x unified",
                "showlegend": len(data) > 1,
                "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
                "xaxis": {"title": {"text": self.x_title}, "zeroline": False, "fixedrange": True},
                "yaxis": {**y_axis, "fixedrange": True},
                "shapes": [_line(mark) for mark in self.marks],
                "annotations": [_word(mark, place) for place, mark in enumerate(self.marks)],
            },
        }

    def table(self, rows: int = 11) -> list[tuple[float, list[float | None]]]:
        """List at most ``rows`` rows: a value of x, and the y of each line there (None for a gap).

        The rows are evenly spaced over all values of x, the first and the last included.
        """
        xs = sorted({x for line in self.lines for x in line.x})
        values = [dict(zip(line.x, line.y, strict=True)) for line in self.lines]
        return [(xs[place], [value.get(xs[place]) for value in values]) for place in spread(xs, rows)]


_DASH = {"attack": "solid", "control": "dash"}


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
    return {"text": mark.text, "showarrow": False, **place}


def threshold_chart(account: Account, interpreter: str) -> Chart:
    """Make the chart of joint success by threshold: the map distance below which a map counts, from 0 to 0.5."""
    words, limit = account.wording, account.part.mean_limit(interpreter)
    lines = []
    for role in _compared(account):
        curve = account.group(role, interpreter)["joint_success_curve"]
        lines.append(Line(_name(account, role), role, tuple(curve["thresholds"]), tuple(curve["rates"])))
    return Chart(
        title=_title(account, "Joint success by threshold", interpreter),
        about="Share of images whose class was reached and whose map is nearer to the wanted one than the threshold. "
        f"The dotted line at {limit:.3f} is {words.limit.format(why=origin(account, interpreter))}.",
        x_title="threshold on map distance",
        y_title="joint success",
        lines=tuple(lines),
        marks=(Mark(limit, words.mark),),
        y_range=(0.0, 1.03),
        percent=True,
    )


def step_charts(account: Account) -> list[Chart]:
    """Make the charts by step: success, and the mean map distance of each interpreter; none without a trace.

    The trace of an earlier version has one mean over all attacked interpreters, which gets a chart of its own.
    """
    part = account.part
    traces = {role: part.files.trace(part.labels[role]) for role in _compared(account)}
    courses = {role: _course(table) for role, table in traces.items() if table is not None and table.num_rows}
    marks = courses["attack"].stages if "attack" in courses else ()
    success = Chart(
        "Class reached, by step",
        f"Share of images with the class that the attack wants, at each step. {_OWN_READINGS}",
        "step",
        "success",
        _lines(account, {role: (course.steps, course.success) for role, course in courses.items()}),
        marks,
        (0.0, 1.03),
        True,
    )
    distances = [
        Chart(
            _title(account, "Map distance, by step", name),
            f"Mean distance between the attacked map and the wanted one. {_OWN_READINGS}",
            "step",
            "mean map distance",
            _lines(account, {role: (c.steps, c.map_l1[name]) for role, c in courses.items() if name in c.map_l1}),
            marks,
        )
        for name in dict.fromkeys(
            [*part.interpreters, *(name for course in courses.values() for name in course.map_l1)]
        )
    ]
    return [chart for chart in (success, *distances) if chart.lines]


_OWN_READINGS = (
    "An image that left the attack early counts with its last value. These are readings of the attack while it ran; "
    "everything else on this page is judged on the saved images."
)


@dataclass(frozen=True)
class _Course:
    """Means over images at each step: success, and map distance by interpreter. ``stages`` marks their beginnings."""

    steps: tuple[float, ...]
    success: Numbers
    map_l1: dict[str, Numbers]
    stages: tuple[Mark, ...]


def _compared(account: Account) -> list[str]:
    return [role for role in ("attack", "control") if account.part.has(role)]


def _name(account: Account, role: str) -> str:
    name = plain(account.part.names[role])
    return name if role == "attack" else f"{name} (prediction only)"


def _title(account: Account, text: str, interpreter: str) -> str:
    return f"{text}, {plain(interpreter)}" if len(account.part.interpreters) > 1 else text


def _lines(account: Account, courses: dict[str, tuple[tuple[float, ...], Numbers]]) -> tuple[Line, ...]:
    """Make a line from (steps, values) by role; roles whose values are all NaN get no line."""
    lines = []
    for role, (steps, values) in courses.items():
        known = tuple(None if math.isnan(value) else round(value, 5) for value in values.tolist())
        if any(value is not None for value in known):
            lines.append(Line(_name(account, role), role, steps, known))
    return tuple(lines)


def _course(table: pa.Table) -> _Course:
    import pyarrow.compute as pc

    steps, stages = table["step"].to_numpy(), table["stage"].combine_chunks().dictionary_encode()
    names = table["interpreter"].unique().to_pylist()
    parts = {name: table.filter(pc.equal(table["interpreter"], name)) for name in names}
    marks = []
    for code, stage in enumerate(stages.dictionary.to_pylist()):
        marks.append(Mark(float(steps[np.asarray(stages.indices) == code].min()), plain(stage)))
    return _Course(
        tuple(np.unique(steps).astype(float).tolist()),
        _means(parts[names[0]], "success", steps),  # success is the same in the rows of every interpreter
        {name: _means(part, "map_l1", steps) for name, part in parts.items()},
        tuple(sorted(marks, key=lambda mark: mark.x)) if len(marks) > 1 else (),
    )


def _means(table: pa.Table, column: str, steps: Numbers) -> Numbers:
    """Average a column over images at each step. An image without a value at a step counts with its latest one."""
    every = np.unique(steps)
    row = np.searchsorted(every, table["step"].to_numpy())
    images = table["image_id"].combine_chunks().dictionary_encode()
    grid = np.full((len(every), len(images.dictionary)), math.nan)
    grid[row, np.asarray(images.indices)] = numbers(table[column])
    return mean_of_known(held(grid))


def held(grid: Numbers) -> Numbers:
    """Replace every NaN in ``grid`` (steps x images) by the latest value before it in its column, if there is one."""
    rows = np.arange(len(grid))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(grid), -1, rows), axis=0)
    kept: Numbers = np.where(last < 0, math.nan, np.take_along_axis(grid, last.clip(0), axis=0))
    return kept


def mean_of_known(grid: Numbers) -> Numbers:
    """Average each row of ``grid`` (steps x images) over its known values; NaN if all are NaN."""
    known = ~np.isnan(grid)
    count = known.sum(1)
    total = np.where(known, grid, 0).sum(1)
    means: Numbers = np.divide(total, count, out=np.full(len(grid), math.nan), where=count > 0)
    return means
