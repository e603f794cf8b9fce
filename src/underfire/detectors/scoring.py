"""The scores of one fitted detector on the saved images of a finished run."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from underfire.attacks import AttackSettings
from underfire.attacks.evading import FITTED, folder_of
from underfire.attacks.limits import Flags, Numbers
from underfire.classifiers import Classifier
from underfire.detectors.cached_maps import Cache, CachedMaps
from underfire.detectors.contract import FittedDetector
from underfire.detectors.saved_maps import SavedMaps
from underfire.detectors.split import Members
from underfire.errors import InputError
from underfire.metrics import Interval
from underfire.settings import settings_of
from underfire.system import System

if TYPE_CHECKING:
    from underfire.runs.cells import Cell
    from underfire.runs.comparison import Comparison
    from underfire.runs.run import Run
    from underfire.runs.running import RunInHand

BATCH = 64
"""Images that are read and scored at once."""


@dataclass(frozen=True, eq=False)
class ScoredCell:
    """The scores of one detector on the images of one attack or control. Only images that were correct before count.

    Args:
        run: the finished run.
        fitted: the detector.
        cell: the attack or control.
        image_ids: the ids of the images, N.
        scores: float64 N.
        success: bool N: the attack reached its class. False for clean images and noise.
        joint: bool N by interpreter: the class was reached and this map kept. Empty for clean images and noise.
        joint_all: bool N: the class was reached and all attacked maps kept.
        description: the attack's description in ``run.json``; empty for clean images and noise.
        part, role: the comparison that the cell is part of, and what it is there; None and empty for clean images and
            noise.
    """

    run: Run
    fitted: FittedDetector
    cell: Cell
    image_ids: list[str] = field(repr=False)
    scores: Numbers = field(repr=False)
    success: Flags = field(repr=False)
    joint: dict[str, Flags] = field(repr=False)
    joint_all: Flags = field(repr=False)
    description: str = field(repr=False, default="")
    part: Comparison | None = field(repr=False, default=None)
    role: str = ""

    @property
    def label(self) -> str:
        """The label of the cell in its run."""
        return self.cell.label

    @property
    def kind(self) -> str:
        """``clean``, ``noise``, ``control`` (an attack on the prediction alone) or ``attack``."""
        return self.cell.kind

    @property
    def attack(self) -> str:
        """The name of the attack or control."""
        return self.cell.attack

    @property
    def flagged(self) -> Flags:
        """True for images whose score is above the threshold."""
        found: Flags = self.scores > self.fitted.threshold
        return found

    def kept(self, names: Collection[str] = (), unnoticed: bool = False) -> Interval:
        """Compute the share of images with the class reached and maps kept, with the interval that runs give it.

        Args:
            names: interpreters whose maps must all be kept; all that were attacked if empty.
            unnoticed: count images alone that the detector does not flag.
        """
        if self.part is None:
            return Interval(None, None, None, 0)
        found = self.part.outcome(self.role, tuple(names) or self.part.attacked)
        if unnoticed:
            passed = np.zeros(len(found.success), dtype=bool)
            passed[np.flatnonzero(self.run.correct)] = ~self.flagged
            found = dataclasses.replace(found, success=found.success & passed)
        return self.part.intervals.joint(found)

    @property
    def steps(self) -> float | None:
        """The steps (queries of ``square``) of the attack or control, the mean over N; None for any other cell."""
        if self.part is None:
            return None
        taken = np.asarray(self.part.column(self.role, self.part.interpreters[0], "steps"), dtype=float)
        return float(taken[np.flatnonzero(self.run.correct)].mean())

    @property
    def setup(self) -> dict[str, Any]:
        """The data, and the settings of the attack, but for its steps and radius: what runs with more steps share.

        Data and detectors in folders are told by their hashes, because one folder can be written in several ways.
        """
        wanted = set(settings_of(AttackSettings)) - {"steps", "budget", "eps"}
        held, record = self.run.configuration, self.run.record
        found = {name: value for name, value in held.items() if name in wanted}
        hashes = record.get("detectors_sha256", {})
        found["evade"] = [_hashed(part, hashes) for part in held.get("evade", [])]
        return found | {"data": f"{Path(str(held['data'])).name} ({record.get('data_sha256', '')[:8]})"}

    @property
    def counted(self) -> Flags:
        """True for images that are to be detected: successful attacks. All images for clean ones and noise."""
        return self.success if self.kind in ("attack", "control") else np.ones(len(self.scores), dtype=bool)


def score_run(
    fitted: FittedDetector, run: Run, on_cell: Callable[[str], None] | None = None, cache: Cache | None = None
) -> Iterator[ScoredCell]:
    """Yield the scores of a run's cells: clean images first. Images are read in small batches.

    Maps are taken from the run's files, where they are those that the detector would read. Those of interpreters with
    random numbers never are, and are computed; see ``SavedMaps``.

    Args:
        on_cell: called with the name of each cell before it is scored.
        cache: maps that were read for other detectors, and are taken again; see ``CachedMaps``. None keeps no map.

    Raises:
        InputError: the run attacked another classifier than the detector was fitted for, or the detector has seen its
            images before.
        StoreError: the run's images cannot be read.
    """
    check_run(fitted, run)
    reading = fitted
    if fitted.detector.reads_maps:
        system: System = SavedMaps(fitted.system, [run])
        reading = dataclasses.replace(fitted, system=system if cache is None else CachedMaps(system, cache))
    correct = np.flatnonzero(run.correct).tolist()
    ids = [run.image_ids[place] for place in correct]
    order = [
        cell for kind in ("clean", "noise", "control", "attack") for cell in run.cells.values() if cell.kind == kind
    ]
    for cell in order:
        if on_cell is not None:
            on_cell(f"{fitted.name}: {cell.label}")
        images = saved(run, cell.label, correct, fitted.system.classifier)
        scores = np.concatenate([reading.scores(each).numpy() for each in images])
        attacked = cell.kind in ("attack", "control")
        part, role = _comparison(run, cell)
        names = part.interpreters if attacked else []
        joint = {name: np.asarray(part.joint(role, name))[correct] for name in names}
        success = np.asarray(part.column(role, part.interpreters[0], "success"), dtype=bool)[correct]
        nothing = np.zeros(len(correct), dtype=bool)
        yield ScoredCell(
            run=run,
            fitted=fitted,
            cell=cell,
            image_ids=ids,
            scores=scores,
            success=success if attacked else nothing,
            joint=joint,
            joint_all=np.asarray(part.joint_all(role))[correct] if attacked else nothing,
            description=str(run.record.get("attacks", {}).get(cell.label, "")),
            part=part if attacked else None,
            role=role if attacked else "",
        )


def saved(run: Run, label: str, places: Sequence[int], classifier: Classifier) -> Iterator[Tensor]:
    """Yield the saved 8-bit images of one cell in batches, N x C x H x W in [0, 1].

    Args:
        places: the places of the images among the attacked ones.
        classifier: what they are prepared for.
    """
    from underfire.runs.saved_images import SavedImages

    data = SavedImages(run, label)
    for batch in data.batches(*_form(classifier, places)):
        if batch.unreadable:
            raise InputError(f"an image of {label} of {run.path} cannot be used: {batch.unreadable[0][1]}")
        yield batch.images


def members_of(run: Run, classifier: Classifier) -> Members:
    """Identify the clean images of a run, as they are prepared for a classifier."""
    from underfire.runs.saved_images import SavedImages

    places, clean = range(len(run.image_ids)), SavedImages(run, "clean")
    contents = [clean.content(place) for place in places]
    return Members.of_clean(saved(run, "clean", places, classifier), classifier, run.image_ids, contents)


def check_run(fitted: FittedDetector, run: Run) -> None:
    """Raise InputError if a run attacked another classifier, or if the detector has seen its images before."""
    hashed = run.record.get("classifier_sha256")
    if hashed != fitted.target.classifier_sha256:
        raise InputError(
            f"the run in {run.path} attacked {run.classifier}, and detector {fitted.name} was fitted for "
            f"{fitted.target.classifier}, which has other weights or another normalisation: fit the detector for the "
            "classifier of the run."
        )
    members = members_of(run, fitted.system.classifier)
    fitted.check_unseen(members, f"the images of the run in {run.path}", f"To leave them out: {_apart_from(run.path)}")


def check_begun(fitted: FittedDetector, hand: RunInHand) -> None:
    """Raise InputError if the detector has seen images that a run is about to attack: before its first shard.

    Args:
        fitted: a detector that was fitted for the run's classifier.
        hand: the run, which is begun.
    """
    plan = hand.ready().plan
    attacked = [place for place, wanted in enumerate(plan.selection.attacked) if wanted]
    chosen, ids, contents = [plan.selection.considered[place] for place in attacked], list[str](), list[str]()
    stored = {plan.data.record(place).image_id: plan.data.content(place) for place in chosen}

    def images() -> Iterator[Tensor]:
        for batch in plan.data.batches(*_form(plan.experiment.system.classifier, chosen)):
            ids.extend(batch.ids)
            contents.extend(stored[image_id] for image_id in batch.ids)
            yield batch.images

    members = Members.of_clean(images(), fitted.system.classifier, ids, contents)
    remedy = (
        "Attack other images; or make the run without the detector, and fit one that leaves the "
        f"run's images out: {_apart_from(hand.store.folder)}"
    )
    fitted.check_unseen(members, f"the images to attack in {hand.store.folder}", remedy)


def _apart_from(folder: Path) -> str:
    return f"underfire detect fit --apart-from {shlex.quote(str(folder))} ..."


def _form(classifier: Classifier, places: Sequence[int]) -> tuple[Any, ...]:
    """Return the arguments of ``ImageData.batches`` for the images of a classifier."""
    return classifier.image_size, classifier.channels, BATCH, places, classifier.resizing


def _comparison(run: Run, cell: Cell) -> tuple[Comparison, str]:
    """Return a comparison that holds a cell, and the cell's role in it."""
    return next((part, role) for part in run.comparisons for role, label in part.labels.items() if label == cell.label)


def _hashed(part: str, hashes: Mapping[str, str]) -> str:
    """Write a part of the setting ``evade`` with the hash of its detector instead of the path to it."""
    folder = folder_of(part)
    return part if folder is None else f"{FITTED}{folder.name} ({hashes.get(str(folder), '')[:8]})"
