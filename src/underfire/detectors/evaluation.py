"""Evaluation of detectors on finished runs: ROC, AUC, detection at the calibrated threshold, and triple success."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from underfire import metrics
from underfire.detectors.cached_maps import Cache
from underfire.detectors.contract import FittedDetector
from underfire.detectors.naming import told_apart
from underfire.detectors.over_budget import Course, courses
from underfire.detectors.scoring import ScoredCell, score_run
from underfire.errors import InputError
from underfire.files import path_of
from underfire.frames import pandas
from underfire.metrics import RocCurve

if TYPE_CHECKING:
    from underfire.runs.run import Run

NOT_ADAPTIVE = (
    "this attack does not know the detector with its threshold: an attacker who knows it may evade it, so these "
    "numbers are no evidence of robustness"
)
"""The caution beside every number of an attack that is not adaptive against the detector (Tramer et al. 2020)."""

TOO_MANY_ALARMS = (
    "the clean images of this run raise more false alarms than the threshold was chosen for: they differ from the "
    "calibration images. Were the calibration images among those that the classifier was trained on?"
)
"""The caution beside clean images whose rate of false alarms is above what the calibration can explain."""

INTERVALS = ("auc", "detection", "joint_success", "triple_success")
"""The entries of rows that are numbers with an interval."""

SCORE_COLUMNS = ("run", "detector", "cell", "kind", "attack", "eps", "image_id", "success", "score", "flagged")
"""The columns of ``Evaluation.scores``."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of detectors on the images of finished runs, and what follows from them.

    Args:
        cells: the scores, by run and detector: clean images first, then each attack and control.
    """

    cells: tuple[ScoredCell, ...]

    def rows(self) -> list[dict[str, Any]]:
        """List the results: one entry for each run, detector, and attack or control.

        Returns:
            Entries with ``run``, ``detector``, ``cell``, ``kind`` (``clean``, ``noise``, ``control`` for an attack on
            the prediction alone, or ``attack``), ``attack``, ``eps``, ``attacked_interpreters``, ``threshold``, ``n``
            (images that were classified correctly before), ``successes`` (those on which the attack succeeded) and
            ``steps`` (the attack's steps or queries, the mean over the images; None for clean images and noise), and
            ``setup`` (data, and all settings of the attack but its steps and radius).
            Numbers with 95 % intervals are dictionaries with ``mean``, ``low``, ``high`` and ``n``:

            - ``auc``: successful attacked images against the clean images of the run. For noise: all images.
            - ``detection``: the share of successful attacked images with a score above the threshold. Attacks that
              failed do not count as detected. For clean images and noise, it is the share of false alarms.
            - ``joint_success``: class reached and all attacked maps kept, of all n images.
            - ``triple_success``: the same, and the score not above the threshold: what an evading attacker must reach.
              Null for clean images and noise. ``triple_success_by_map`` has it for each interpreter.

            Intervals of joint and triple success count the uncertainty of the limit of kept maps, as those of a run do.
            The threshold is held fixed everywhere: the numbers are those of this detector with this threshold, whose
            true rate of false alarms is known as ``likely_false_positives``, and no better.

            ``adaptive`` is True if the attack knows the detector, and evades its threshold or a lower one; None for
            clean images and noise. ``caution`` is a sentence, or empty.
        """
        return [dict(row) for row in self._rows]

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        return [_row(each, self._clean(each)) for each in self.cells]

    def over_budget(self) -> list[Course]:
        """List the attacks that were run with several budgets, with detection and triple success at each of them."""
        return courses(self._rows)

    def scores(self) -> Iterator[dict[str, Any]]:
        """Yield the score of every image: entries with the keys ``SCORE_COLUMNS``."""
        for each in self.cells:
            flagged = each.flagged
            for place, image_id in enumerate(each.image_ids):
                values = (
                    *(str(each.run.path), each.fitted.name, each.label, each.kind, each.attack, each.cell.eps),
                    *(image_id, bool(each.success[place]), float(each.scores[place]), bool(flagged[place])),
                )
                yield dict(zip(SCORE_COLUMNS, values, strict=True))

    def roc(self, cell: str, detector: str | None = None, run: Path | str | None = None) -> RocCurve:
        """Compute the ROC curve of one attack: its successful images against the clean images of its run.

        Args:
            cell: the label of the attack or control.
            detector: the detector's name; may be None if there is one only.
            run: the run's folder; may be None if there is one only.

        Raises:
            InputError: there is no such cell, or there are several; or no attack succeeded.
        """
        found = [
            each
            for each in self.cells
            if each.label == cell
            and detector in (None, each.fitted.name)
            and (run is None or Path(run) == each.run.path)
        ]
        if len(found) != 1:
            known = ", ".join(dict.fromkeys(each.label for each in self.cells))
            raise InputError(
                f"cell is {cell!r}, which stands for {len(found)} results; expected one. Known cells: {known}. "
                "Name the detector and the run if there are several."
            )
        counted = found[0].counted
        if not counted.any():
            raise InputError(f"no attack of cell {cell!r} succeeded: there is nothing to detect.")
        return metrics.roc_curve(self._clean(found[0]).scores, found[0].scores[counted])

    def to_dict(self) -> dict[str, Any]:
        """Return all results as JSON values, with the ROC curve of each attack that succeeded at all."""
        rows = []
        for each, row in zip(self.cells, self._rows, strict=True):
            curve = None
            if each.kind not in ("clean",) and each.counted.any():
                found = metrics.roc_curve(self._clean(each).scores, each.scores[each.counted])
                curve = {
                    "false_positives": found.false_positives.tolist(),
                    "detections": found.detections.tolist(),
                }
            rows.append({**row, "roc": curve})
        over_budget = [asdict(course) for course in self.over_budget()]
        return {"rows": rows, "detectors": self.digests, "over_budget": over_budget}

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each detector by its name; see ``FittedDetector.digest``."""
        return {each.fitted.name: each.fitted.digest for each in self.cells}

    def to_pandas(self) -> Any:
        """Return ``rows()`` as a pandas DataFrame; a number with an interval is three columns.

        Raises:
            InputError: pandas is not installed.
        """
        return pandas().DataFrame([flat(row) for row in self._rows])

    def _clean(self, cell: ScoredCell) -> ScoredCell:
        return next(
            each for each in self.cells if each.kind == "clean" and each.run is cell.run and each.fitted is cell.fitted
        )

    def __repr__(self) -> str:
        runs = dict.fromkeys(str(each.run.path) for each in self.cells)
        return f"Evaluation of {', '.join(dict.fromkeys(each.fitted.name for each in self.cells))} on {', '.join(runs)}"


def evaluate(
    detectors: FittedDetector | Iterable[FittedDetector],
    runs: Run | Path | str | Sequence[Run | Path | str],
    *,
    on_cell: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score the saved 8-bit images of finished runs, and compare attacked with clean ones.

    Args:
        detectors: one or more fitted detectors. Those of one name get names that differ; see ``told_apart``.
        runs: one or more finished runs, or their folders.
        on_cell: called with the name of each attack or control before it is scored.

    Raises:
        InputError: a run attacked another classifier than a detector was fitted for; a detector has seen images of a
            run when it was fitted or calibrated; or a detector or a run is given twice.
        StoreError: a run is not finished, or cannot be read.
    """
    from underfire.runs.run import Run

    if isinstance(detectors, str) or not isinstance(detectors, FittedDetector | Iterable):
        raise InputError(f"detectors is {detectors!r:.80}; expected fitted detectors, as uf.detectors.load opens them.")
    if not isinstance(runs, str | Path | Run | Iterable):
        raise InputError(f"runs is {runs!r:.80}; expected finished runs, or their folders.")
    fitted = [detectors] if isinstance(detectors, FittedDetector) else list(detectors)
    given = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    if not fitted or not given:
        raise InputError("evaluate needs at least one detector and one run.")
    for each in fitted:
        if not isinstance(each, FittedDetector):
            raise InputError(f"detectors holds {each!r:.80}; expected fitted detectors.")
    fitted = told_apart(fitted)
    opened = [each if isinstance(each, Run) else Run(path_of("runs", each).expanduser()) for each in given]
    places = [run.path.resolve() for run in opened]
    twice = next((run.path for run, place in zip(opened, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise InputError(f"runs names {twice} more than once; name each run once.")
    return Evaluation(tuple(cell for run in opened for cell in _scored(fitted, run, on_cell)))


def _scored(
    detectors: Sequence[FittedDetector], run: Run, on_cell: Callable[[str], None] | None
) -> Iterator[ScoredCell]:
    """Yield the scores of detectors on one run. Detectors of the same interpreters share the maps of a cell's images.

    All detectors score a cell before the next one, so that never more than the maps of one cell are held.
    """
    readers = [each for each in detectors if each.detector.reads_maps]
    kinds = {item for each in readers for item in each.target.interpreters.items()}
    same = len(readers) > 1 and len({name for name, _ in kinds}) == len(kinds)
    cache: Cache | None = {} if same else None
    rows = []
    for row in zip(*(score_run(each, run, on_cell, cache) for each in detectors), strict=True):
        rows.append(row)
        if cache is not None:
            cache.clear()
    for own in zip(*rows, strict=True):
        yield from own


def _row(cell: ScoredCell, clean: ScoredCell) -> dict[str, Any]:
    """Make the entry of one cell; ``clean`` are the clean images of its run."""
    counted, flagged = cell.counted, cell.flagged
    attacked = cell.kind in ("attack", "control")
    adaptive = cell.fitted.knows(cell.description) if attacked else None
    ids = np.asarray(clean.image_ids, dtype=object)
    nothing = metrics.Interval(None, None, None, 0).to_dict()
    area = nothing
    if cell.kind != "clean":
        chosen = cell.scores[counted]
        area = metrics.bootstrap_roc_area(clean.scores, chosen, list(ids), list(ids[counted])).to_dict()
    return {
        "run": str(cell.run.path),
        "detector": cell.fitted.name,
        "cell": cell.label,
        "kind": cell.kind,
        "attack": cell.attack,
        "eps": cell.cell.eps,
        "attacked_interpreters": "+".join(cell.cell.attacked),
        "threshold": cell.fitted.threshold,
        "false_positives": cell.fitted.false_positives,
        "n": len(cell.scores),
        "successes": int(cell.success.sum()),
        "auc": area,
        "detection": metrics.rate(flagged[counted]).to_dict(),
        "joint_success": cell.kept().to_dict(),
        "triple_success": cell.kept(unnoticed=True).to_dict(),
        "triple_success_by_map": {
            name: cell.kept((name,), unnoticed=True).to_dict() for name in cell.joint if attacked
        },
        "adaptive": adaptive,
        "caution": _caution(cell, adaptive),
        "steps": cell.steps,
        "setup": cell.setup,
    }


def _caution(cell: ScoredCell, adaptive: bool | None) -> str:
    """Say what a reader should know about the numbers of a cell; empty if nothing."""
    if adaptive is False:
        return f"{NOT_ADAPTIVE}; the attack to try: {cell.fitted.detector.attacker}"
    least = metrics.rate(cell.flagged).low
    if cell.kind == "clean" and least is not None and least > cell.fitted.likely_false_positives[1]:
        return TOO_MANY_ALARMS
    return ""


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of ``Evaluation.rows`` with three columns for each number: NAME, NAME_low and NAME_high."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if name in INTERVALS:
            found |= {name: value["mean"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        elif name not in ("triple_success_by_map", "setup"):
            found[name] = value
    return found
