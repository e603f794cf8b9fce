"""The results of a transfer: rows, matrices and files, read from the run folders of the classifiers that read."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from underfire import metrics
from underfire.attacks.measures import MEASURES
from underfire.errors import InputError, StoreError
from underfire.frames import pandas
from underfire.runs.comparison import Comparison
from underfire.runs.run import Run
from underfire.runs.saved_images import SavedImages
from underfire.runs.summary import chance, interval, joint, limit

INTERVALS = (
    *("success", "untargeted_success", "source_success", "joint_success"),
    *("map_l1", "map_l1_target", "map_iou", "chance_other_map"),
)
"""The columns of rows that are means with an interval."""


class Transfer:
    """The images of a finished run, as other classifiers and interpreters read them.

    Args:
        source: the run whose images are read.
        runs: for each classifier by its name, the finished run of its readings.
    """

    def __init__(self, source: Run, runs: Mapping[str, Run]) -> None:
        self.source, self.runs = source, dict(runs)

    @property
    def classifiers(self) -> list[str]:
        """The names of the classifiers that read."""
        return list(self.runs)

    @cached_property
    def source_size(self) -> tuple[int, int]:
        """Height and width of the saved images."""
        _, height, width = SavedImages(self.source, "clean").levels(0).shape
        return height, width

    def run(self, classifier: str | None = None) -> Run:
        """Return the run of one classifier's readings.

        Args:
            classifier: its name; may be None if there is one only.

        Raises:
            InputError: there is no such classifier, or there are several and none is named.
        """
        if classifier is None and len(self.runs) == 1:
            return next(iter(self.runs.values()))
        if classifier not in self.runs:
            raise InputError(f"classifier is {classifier!r}; the transfer has {', '.join(self.runs)}.")
        return self.runs[classifier]

    def rows(self) -> list[dict[str, Any]]:
        """List the results: one entry for each classifier, attack or control, and interpreter that reads.

        Returns:
            Entries with ``source_classifier``, ``classifier``, ``cell`` (the label in the run), ``kind`` (``attack``,
            ``control``, ``noise`` or ``reseeded``), ``attack``, ``eps``, ``attacked_interpreters`` (names joined by
            ``+``), ``interpreter`` (which reads), ``n`` (the images that the classifier gets right when clean),
            ``considered`` (the attacked images of the run), ``limit`` (below which a map counts as kept, or as
            reached) with ``limit_set_by``, and means with 95 % intervals, as in ``summary.json``: ``success`` (target
            class reached), ``untargeted_success`` (the image's own class left), ``source_success`` (of the same images
            on the run's own classifier), ``joint_success``, ``map_l1``, ``map_l1_target``, ``map_iou`` and
            ``chance_other_map`` (the share of other images' maps that pass the limit). For attacks beside a
            prediction-only control also ``joint_success_p_holm`` and ``map_l1_p_holm``: see ``Run.p_values``.
        """
        return [dict(row) for row in self._rows]

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return [row for name, run in self.runs.items() for row in _rows_of(self.source, name, run)]

    def matrix(self, measure: str = "map_l1", classifier: str | None = None) -> dict[str, dict[str, dict[str, Any]]]:
        """Arrange one measure as in [ADV2] table 9 and [EDGE] table IV.

        Args:
            measure: a column of ``rows()`` with an interval: ``map_l1``, ``joint_success``, ``success``, ...
            classifier: the classifier that reads; may be None if there is one only.

        Returns:
            For each attack, control and noise (by its label in the run), for each interpreter that reads, the mean
            with its 95 % interval: ``mean``, ``low``, ``high`` and ``n``.

        Raises:
            InputError: there is no such measure or classifier.
        """
        if measure not in INTERVALS:
            raise InputError(f"measure is {measure!r}; expected one of {', '.join(INTERVALS)}.")
        self.run(classifier)
        name = classifier or self.classifiers[0]
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for row in self._rows:
            if row["classifier"] == name:
                found.setdefault(row["cell"], {})[row["interpreter"]] = row[measure]
        return found

    def to_pandas(self) -> Any:
        """Return ``rows()`` as a pandas DataFrame; an interval is three columns: NAME, NAME_low and NAME_high.

        Raises:
            InputError: pandas is not installed.
        """
        return pandas().DataFrame([_flat(row) for row in self._rows])

    def __repr__(self) -> str:
        return f"Transfer of {self.source.path} to {', '.join(self.runs)}"


TABLE = "transfer.csv"
"""The file of a transfer's folder that holds all of its numbers."""
_NUMBERS = ("eps", "limit", "joint_success_p_holm", "map_l1_p_holm")
_COUNTS = ("n", "considered")


def read_tables(folder: Path) -> list[dict[str, Any]]:
    """Read ``transfer.csv``: the entries of ``Transfer.rows()``.

    Raises:
        StoreError: the file is missing, or is none that a transfer wrote.
    """
    path = folder / TABLE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            found = [_typed(row) for row in csv.DictReader(file)]
        if not found:
            raise ValueError("it holds no rows")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} cannot be read: {error!r}. 'underfire transfer --resume' makes it again.") from error


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    """Turn a row of texts back into an entry of ``Transfer.rows()``."""
    found: dict[str, Any] = dict(row)
    for name in INTERVALS:
        ends = {key: _number(found.pop(name + end)) for key, end in (("mean", ""), ("low", "_low"), ("high", "_high"))}
        found[name] = {**ends, "n": int(found.pop(f"{name}_n", None) or row["n"])}  # earlier versions wrote one n
    found |= {name: _number(row[name]) for name in _NUMBERS} | {name: int(row[name]) for name in _COUNTS}
    return found


def _number(text: str) -> float | None:
    return float(text) if text else None


def write_tables(found: Transfer, folder: Path) -> Path:
    """Write ``transfer.csv``: ``rows()`` with four columns for each interval. Raises StoreError."""
    path = folder / TABLE
    rows = [_flat(row) | {f"{name}_n": row[name]["n"] for name in INTERVALS} for row in found.rows()]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= {name: value["mean"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        else:
            found[name] = value
    return found


def _rows_of(source: Run, name: str, run: Run) -> Iterator[dict[str, Any]]:
    """Yield the rows of one classifier: attacks and controls once each, although several attacks share a control."""
    order = ("attack", "control", "noise", "reseeded")
    seen: dict[str, tuple[str, Comparison]] = {}
    for role in order:
        for part in run.comparisons:
            if part.has(role):
                seen.setdefault(part.labels[role], (role, part))
    for label, (role, part) in seen.items():
        for interpreter in part.interpreters:
            yield _row(source, name, run, label, role, part, interpreter)


def _row(source: Run, name: str, run: Run, label: str, role: str, part: Comparison, interpreter: str) -> dict[str, Any]:
    cell, settled = run.cells[label], limit(part, interpreter)
    found: dict[str, Any] = {
        "source_classifier": source.configuration["classifier"],
        "classifier": name,
        "cell": label,
        "kind": role,
        "attack": cell.attack,
        "eps": cell.eps,
        "attacked_interpreters": "+".join(cell.attacked),
        "interpreter": interpreter,
        "n": int(run.images["attacked"]),
        "considered": int(run.images["considered"]),
        "limit": settled["map_l1_below"],
        "limit_set_by": settled["set_by"],
    }
    measured = ("success", "untargeted_success", "map_l1", "map_l1_target", "map_iou")
    means = {each: interval(part.column(role, interpreter, each), MEASURES[each].bounds) for each in measured}
    means["source_success"] = _source_success(source, run, label)
    means["joint_success"] = joint(part, role, [interpreter])
    means["chance_other_map"] = chance(part, interpreter)["other_map"]
    tested = run.p_values.get((label, interpreter), {})
    corrected = {f"{each}_p_holm": tested.get(each, {}).get("p_holm") for each in ("joint_success", "map_l1")}
    return found | {each: means[each] for each in INTERVALS} | corrected


def _source_success(source: Run, run: Run, label: str) -> dict[str, Any]:
    """Compute the success on the run's own classifier, over the images that the reading classifier counts."""
    if label not in source.cells:
        return metrics.interval([]).to_dict()
    values = np.asarray(source.column(label, source.cells[label].read_by[0], "success"), dtype=bool)
    kept = set(run.image_ids)
    return interval(values[[image_id in kept for image_id in source.image_ids]])
