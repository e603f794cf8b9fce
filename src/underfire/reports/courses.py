"""The course of an attack over its steps, from the trace: class reached, map distance, and joint success so far."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from underfire.attacks.limits import Flags, Numbers
from underfire.reports.layout import Mark
from underfire.runs.comparison import Comparison
from underfire.runs.folder import numbers
from underfire.text import plain

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Course:
    """Values of an attack at each recorded step.

    Args:
        steps: the S recorded steps.
        success: the share of images whose class was reached, S.
        map_l1: the mean map distance by interpreter, S.
        joint: by interpreter, bool S x N: the image had the class and a map within its limit at some step up to here.
            Only for interpreters whose maps were read.
        stages: marks at the beginnings of the stages; empty if there is one stage.
    """

    steps: tuple[float, ...]
    success: Numbers
    map_l1: dict[str, Numbers]
    joint: dict[str, Flags]
    stages: tuple[Mark, ...]


def course(part: Comparison, role: str) -> Course | None:
    """Read the course of an attack or of its control.

    Args:
        part: the comparison.
        role: ``attack`` or ``control``.

    Returns:
        The course; None if the run has no trace of it.
    """
    table = part.files.trace(part.labels[role]) if part.has(role) else None
    if table is None or not table.num_rows:
        return None
    import pyarrow.compute as pc

    steps, stages = table["step"].to_numpy(), table["stage"].combine_chunks().dictionary_encode()
    names = table["interpreter"].unique().to_pylist()
    parts = {name: table.filter(pc.equal(table["interpreter"], name)) for name in names}
    marks = []
    for code, stage in enumerate(stages.dictionary.to_pylist()):
        marks.append(Mark(float(steps[np.asarray(stages.indices) == code].min()), plain(stage)))
    every = np.unique(steps)
    return Course(
        tuple(every.astype(float).tolist()),
        # Success is the same in the rows of every interpreter.
        mean_of_known(held(_grid(parts[names[0]], "success", every))),
        {name: mean_of_known(held(_grid(rows, "map_l1", every))) for name, rows in parts.items()},
        {name: _joint(part, name, parts[name], every) for name in part.interpreters if _reads(parts.get(name))},
        tuple(sorted(marks, key=lambda mark: mark.x)) if len(marks) > 1 else (),
    )


def _reads(table: pa.Table | None) -> bool:
    """Return True if any map was read at any step."""
    return table is not None and table["map_l1"].null_count < table.num_rows


def _joint(part: Comparison, interpreter: str, table: pa.Table, every: Numbers) -> Flags:
    """Decide for each image if it had joint success at some step so far, bool S x N, by the run's limits."""
    success, distance = (_grid(table, name, every, part.image_ids) for name in ("success", "map_l1"))
    within = (success > 0.5) & (distance < part.limits[interpreter].values)  # NaN compares as False
    found: Flags = np.logical_or.accumulate(within & part.files.correct, axis=0)
    return found


def _grid(table: pa.Table, column: str, every: Numbers, image_ids: list[str] | None = None) -> Numbers:
    """Arrange a column as steps x images, NaN where the trace has no row.

    Images are those of the trace, or ``image_ids`` in this order.
    """
    row = np.searchsorted(every, table["step"].to_numpy())
    if image_ids is None:
        images = table["image_id"].combine_chunks().dictionary_encode()
        places, count = np.asarray(images.indices), len(images.dictionary)
    else:
        known = {image_id: place for place, image_id in enumerate(image_ids)}
        places = np.array([known.get(image_id, -1) for image_id in table["image_id"].to_pylist()], dtype=int)
        count = len(image_ids)
    grid = np.full((len(every), count + 1), math.nan)  # the last column is for images that were not attacked
    grid[row, places] = numbers(table[column])
    return grid[:, :count]


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
