"""The page's curves, as data for plotly: joint success over thresholds, success and map distance over steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from underfire.errors import StoreError
from underfire.runs.reader import Run
from underfire.text import plain

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A curve. ``role`` picks its look: the attack's, or its control's. None is a gap."""

    name: str
    role: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]


@dataclass(frozen=True)
class Mark:
    """A vertical line with a word beside it."""

    x: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Lines over one axis, with what a reader learns from them in words."""

    title: str
    about: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    y_range: tuple[float, float] | None = None
    percent: bool = field(default=False)

    def figure(self) -> dict[str, Any]:
        """Data and layout for ``Plotly.newPlot``. Colours are the page's, which knows whether it is dark."""
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
        """The curves in numbers: some values of x, evenly, each with a value for every line (None for a gap)."""
        xs = sorted({x for line in self.lines for x in line.x})
        count = min(rows, len(xs))
        picked = [xs[round(i * (len(xs) - 1) / max(count - 1, 1))] for i in range(count)]
        values = [dict(zip(line.x, line.y, strict=True)) for line in self.lines]
        return [(x, [value.get(x) for value in values]) for x in picked]


_DASH = {"attack": "solid", "control": "dash"}


def _line(mark: Mark) -> dict[str, Any]:
    ends = {"x0": mark.x, "x1": mark.x, "y0": 0, "y1": 1, "yref": "paper"}
    return {"type": "line", **ends, "line": {"width": 1, "dash": "dot"}}


def _word(mark: Mark, number: int) -> dict[str, Any]:
    # One above the other: on a narrow screen, marks may stand close together.
    place = {
        "x": mark.x,
        "y": 0.02 + 0.07 * (number % 3),
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "xshift": 4,
    }
    return {"text": mark.text, "showarrow": False, **place}


def threshold_chart(run: Run, interpreter: str) -> Chart:
    """Joint success as the limit below which a map counts as kept goes from 0 to 0.5."""
    attacks = run.summary["interpreters"][interpreter]["attacks"]
    limit = run.summary["joint_success_threshold"][interpreter]["map_l1_below"]
    lines = []
    for name, role in _roles(run):
        curve = attacks[name]["joint_success_curve"]
        shown = f"{plain(name)} (prediction only)" if name == run.control else plain(name)
        lines.append(Line(shown, role, tuple(curve["thresholds"]), tuple(curve["rates"])))
    return Chart(
        title=f"Joint success by threshold, {plain(interpreter)}",
        about="Share of images whose class changed and whose map is closer to the wanted one than the threshold. The "
        f"dotted line at {limit:.3f} is "
        + (
            "where random noise leaves 95 % of the maps: the threshold of the headline."
            if run.keeps
            else "half of the benign maps' mean distance to it; the headline takes half of each image's own."
        ),
        x_title="threshold on map distance",
        y_title="joint success",
        lines=tuple(lines),
        marks=(Mark(limit, "noise" if run.keeps else "halfway"),),
        y_range=(0.0, 1.03),
        percent=True,
    )


def step_charts(run: Run) -> list[Chart]:
    """Success and mean map distance over the attack's steps; nothing where the run has no ``trace.parquet``."""
    path = run.folder / "trace.parquet"
    if not path.exists():
        return []
    courses = _read_trace(path, [name for name, _ in _roles(run)])
    roles = dict(_roles(run))
    stages = {mark.x: mark for name in courses if name == run.attack for mark in courses[name].stages}
    charts = []
    for column, title, y_title, percent in (
        ("success", "Class changed, by step", "success", True),
        ("map_l1", "Map distance, by step", "mean map distance", False),
    ):
        lines = []
        for name, course in courses.items():
            values: list[float | None] = [
                None if math.isnan(v) else round(v, 5) for v in getattr(course, column).tolist()
            ]
            if any(value is not None for value in values):
                lines.append(Line(plain(name), roles[name], tuple(course.steps), tuple(values)))
        if lines:
            about = (
                "Share of images that the classifier takes for the target at each step."
                if percent
                else "Mean distance between the attacked map and the one it should look like."
            )
            about += " An image that left early counts with its last value. These are the attack's own readings."
            span = (0.0, 1.03) if percent else None
            charts.append(Chart(title, about, "step", y_title, tuple(lines), tuple(stages.values()), span, percent))
    return charts


@dataclass(frozen=True)
class _Course:
    steps: list[float]
    success: Numbers
    map_l1: Numbers
    stages: list[Mark]


def _roles(run: Run) -> list[tuple[str, str]]:
    return [(run.attack, "attack"), *([(run.control, "control")] if run.control else [])]


def _read_trace(path: Path, attacks: Sequence[str]) -> dict[str, _Course]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["image_id", "attack", "stage", "step", "success", "map_l1"])
    except (OSError, pa.ArrowException, KeyError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    found = {}
    for attack in attacks:
        part = table.filter(pc.equal(table["attack"], attack))
        if part.num_rows:
            found[attack] = _course(part)
    return found


def _course(table: Any) -> _Course:
    """Means over images at each step; an image without a value there keeps its last one before."""
    steps, row = np.unique(table["step"].to_numpy(), return_inverse=True)
    _, column = np.unique(np.array(table["image_id"].to_pylist(), dtype=object).astype(str), return_inverse=True)
    means = {}
    for name in ("success", "map_l1"):
        values = np.array([math.nan if v is None else float(v) for v in table[name].to_pylist()])
        grid = np.full((len(steps), int(column.max()) + 1), math.nan)
        grid[row, column] = values
        means[name] = mean_of_known(held(grid))
    first: dict[str, float] = {}
    for step, stage in sorted(zip(table["step"].to_pylist(), table["stage"].to_pylist(), strict=True)):
        first.setdefault(stage, step)
    marks = [Mark(float(step), plain(stage)) for stage, step in first.items()]
    return _Course([float(step) for step in steps], means["success"], means["map_l1"], marks if len(marks) > 1 else [])


def held(grid: Numbers) -> Numbers:
    """``grid`` S x N with every NaN replaced by the last value above it, where there is one."""
    rows = np.arange(len(grid))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(grid), -1, rows), axis=0)
    kept: Numbers = np.where(last < 0, math.nan, np.take_along_axis(grid, last.clip(0), axis=0))
    return kept


def mean_of_known(grid: Numbers) -> Numbers:
    """Means of the rows of ``grid`` S x N over what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(grid)
    count = known.sum(1)
    total = np.where(known, grid, 0).sum(1)
    means: Numbers = np.divide(total, count, out=np.full(len(grid), math.nan), where=count > 0)
    return means
