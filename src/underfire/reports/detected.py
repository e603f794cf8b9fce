"""The scores of detectors on a finished run, kept in the run's folder, and read for its table, its page and exports.

Scores are no columns of ``results.parquet``: a detector may be fitted after the attack, joint success is settled only
when all images are there, and neither a cell's key nor its files may depend on who looks at its images later.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from underfire.classifiers import Classifier
from underfire.detectors.contract import FittedDetector
from underfire.detectors.evaluation import evaluate
from underfire.detectors.folder import read_folder
from underfire.detectors.naming import told_apart
from underfire.detectors.opening import classifier_of, open_detector
from underfire.detectors.scoring import check_begun
from underfire.errors import StoreError
from underfire.reports.detection import FILES, write_detection
from underfire.runs.folder import read_json
from underfire.runs.record import Detection
from underfire.runs.run import Run
from underfire.runs.running import RunInHand

_, SCORES, RECORD = FILES

SCORE, NOTICED = "score_", "noticed_"
"""The beginnings of the names of columns."""


def column_of(detector: str) -> str:
    """Return the name of a detector for columns: letters, digits and underscores."""
    return re.sub(r"\W+", "_", detector)


@dataclass(frozen=True)
class Scored:
    """One image under one detector: its score, and whether that is above the threshold."""

    detector: str
    score: float
    flagged: bool


@dataclass(frozen=True)
class Detected:
    """The scores of detectors for a run's images, read from the run's folder.

    Args:
        folder: the run's folder.
        record: the content of ``detection.json``.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path) -> Detected | None:
        """Read what a run's folder holds; None if no detector has scored the run."""
        return cls(folder, _read(folder)) if (folder / RECORD).exists() else None

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The entries of ``Evaluation.rows()``."""
        return list(self.record["rows"])

    @property
    def detectors(self) -> list[str]:
        """The names of the detectors."""
        return list(dict.fromkeys(row["detector"] for row in self.rows))

    @property
    def columns(self) -> list[str]:
        """The names of the columns of exports, two for each detector."""
        return list(self.meanings)

    def values(self, cell: str, image_id: str) -> dict[str, Any]:
        """Return the values of these columns for one image; empty if it was not scored."""
        found: dict[str, Any] = {}
        for each in self.scores.get((cell, image_id), ()):
            name = column_of(each.detector)
            found |= {f"{SCORE}{name}": each.score, f"{NOTICED}{name}": each.flagged}
        return found

    @property
    def meanings(self) -> dict[str, str]:
        """The meaning of each column, by its name."""
        thresholds = {row["detector"]: row["threshold"] for row in self.rows}
        said = {SCORE: "score of the detector {}, whose threshold is {:.4g}", NOTICED: "the detector {} notices it"}
        return {
            f"{kind}{column_of(name)}": text.format(name, thresholds[name])
            for name in self.detectors
            for kind, text in said.items()
        }

    @cached_property
    def scores(self) -> dict[tuple[str, str], list[Scored]]:
        """The scores by cell and image. Images that were not classified correctly have none.

        Raises:
            StoreError: ``scores.csv`` is missing or broken.
        """
        found: dict[tuple[str, str], list[Scored]] = {}
        path = self.folder / SCORES
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    scored = Scored(row["detector"], float(row["score"]), row["flagged"] == "True")
                    found.setdefault((row["cell"], row["image_id"]), []).append(scored)
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"{path} cannot be read: {error}. {_again(self.folder)}") from error
        return found


def _read(folder: Path) -> dict[str, Any]:
    """Read ``detection.json``. Raises StoreError if it is missing or damaged."""
    return read_json(folder / RECORD, Detection, _again(folder))


def _again(folder: Path) -> str:
    return f"'underfire detect evaluate DETECTOR {folder} --out {folder}' makes it again."


def opened(folders: Sequence[Path | str], classifier: Classifier) -> list[FittedDetector]:
    """Open the detectors in folders that were fitted for a classifier, before anything is attacked.

    Raises:
        InputError: a detector was fitted for another classifier, or one is given twice.
        StoreError: a folder holds no detector.
    """
    return told_apart([open_detector(Path(folder).expanduser(), classifier) for folder in folders])


def score(run: Run, fitted: Sequence[FittedDetector]) -> Detected:
    """Score the images of a finished run, and write ``detection.json``, ``detection.csv`` and ``scores.csv`` into it.

    Raises:
        InputError: a detector has seen images of the run, or was fitted for another classifier.
        StoreError: the files cannot be written.
    """
    write_detection(evaluate(fitted, [run]), run.path)
    return Detected(run.path, _read(run.path))


def check_those_that_fit(hand: RunInHand, folders: Sequence[str]) -> None:
    """Check, before a run attacks anything, that the detectors that were fitted for its classifier can score it.

    Raises:
        InputError: a detector has seen images that the run attacks.
        StoreError: a folder holds no detector.
    """
    own = _those_that_fit(hand.store.read_run(), folders)
    for fitted in opened(own, hand.ready().plan.experiment.system.classifier):
        check_begun(fitted, hand)


def _those_that_fit(record: Mapping[str, Any], folders: Sequence[str]) -> list[str]:
    return [each for each in folders if read_target(each) == record.get("classifier_sha256")]


def score_those_that_fit(run: Run, folders: Sequence[str], device: torch.device) -> None:
    """Score a run of a campaign with the detectors that were fitted for its classifier, unless that is done.

    Raises:
        InputError, StoreError: as in ``score``.
    """
    own = _those_that_fit(run.record, folders)
    if not own:
        return
    fitted = opened(own, classifier_of(run, device))
    held, made = Detected.of(run.path), run.path / "summary.json"
    known = held is not None and held.record.get("detectors") == {each.name: each.digest for each in fitted}
    if not known or (run.path / RECORD).stat().st_mtime < made.stat().st_mtime:
        score(run, fitted)


def read_target(folder: str) -> str:
    """Read the hash of the classifier that a detector was fitted for. Raises StoreError if the folder holds none."""
    record, _ = read_folder(Path(folder).expanduser())
    return str((record.get("target") or {}).get("classifier_sha256"))
