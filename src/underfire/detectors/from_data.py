"""Fitting from a data set and finished runs: which images a detector learns from, and which ones set its threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from underfire.arguments import whole_number
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.detectors.contract import Detector, FittedDetector
from underfire.detectors.fitting import fit, with_interpreters
from underfire.detectors.named import made_of
from underfire.detectors.saved_maps import SavedMaps
from underfire.detectors.split import Members, Split
from underfire.errors import DataError, InputError
from underfire.system import System

if TYPE_CHECKING:
    from underfire.runs.run import Run

BATCH = 64
"""Images that are read and classified at once."""


@dataclass
class Chosen:
    """Images with their ids.

    Args:
        images: parts of N x C x H x W.
        ids: N.
    """

    images: list[Tensor] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def add(self, images: Tensor, ids: Sequence[str]) -> None:
        """Add images with their ids."""
        if len(ids):
            self.images.append(images)
            self.ids += ids

    def tensor(self, classifier: Classifier) -> Tensor:
        """Return all images in one tensor; empty if there are none."""
        return torch.cat(self.images) if self.images else torch.empty(0, classifier.channels, 0, 0)


def fit_on_data(
    detector: Detector | str,
    system: System | Classifier,
    data: ImageData,
    *,
    count: int = 200,
    calibration: int = 200,
    attacked: Sequence[Run | Path | str] = (),
    apart_from: Sequence[Run | Path | str] = (),
    false_positives: float = 0.05,
    source: dict[str, Any] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> FittedDetector:
    """Fit a detector on images of a data set, and on the attacked images of finished runs if it needs such.

    Only images that the classifier gets right are taken, as in runs: the first ``calibration`` ones set the threshold,
    and the next ``count`` ones are learnt from. A detector that needs attacked images learns from the successful ones
    of the runs' attacks, and from the runs' clean images, too.

    Args:
        detector: a ``Detector`` or its name.
        system: the classifier with the interpreters that the detector reads.
        data: clean images with labels in the classifier's order.
        count: the number of images that the detector learns from; none are needed if it learns nothing.
        calibration: the number of images for the threshold.
        attacked: finished runs whose attacked images the detector learns from.
        apart_from: finished runs whose images are left out, because the detector is to be tested on them.
        false_positives, source: see ``fit``.
        on_image: called with the number of images found and wanted.

    Raises:
        InputError: as ``fit``; or a run attacked another classifier.
        DataError: the data hold too few images that the classifier gets right.
        StoreError: a run cannot be read.
    """
    from underfire.runs.run import Run

    made, _ = made_of(detector)
    classifier = with_interpreters(made, system).classifier
    calibration, count = whole_number("calibration", calibration, 1), whole_number("count", count, 0)
    learnt, tested = (
        [each if isinstance(each, Run) else Run(Path(each).expanduser()) for each in some]
        for some in (attacked, apart_from)
    )
    if learnt and not made.needs_attacked:
        raise InputError(f"attacked names {learnt[0].path}, and detector {made.title} learns from no attacked images.")
    left_out = [_members(run, classifier) for run in (*learnt, *tested)]
    wanted = calibration + (count if made.learns else 0)
    found = Chosen()
    for images, ids in _right_images(data, classifier, left_out, wanted):
        found.add(images, ids)
        if on_image is not None:
            on_image(len(found.ids), wanted)
    if len(found.ids) < wanted:
        raise DataError(
            f"{data.name!r} has {len(found.ids)} images that can be taken, and {wanted} are wanted: {calibration} for "
            f"the threshold and {wanted - calibration} to learn from. An image can be taken if the classifier gets it "
            "right, and it is in none of the named runs."
        )
    every = found.tensor(classifier)
    benign, fooled = Chosen(), Chosen()
    benign.add(every[calibration:], found.ids[calibration:])
    for run in learnt:
        _add_run(run, classifier, benign, fooled)
    if learnt and not fooled.ids:
        raise DataError("attacked: no attack of these runs succeeded, so there is nothing to learn from.")
    coupled = with_interpreters(made, system)
    fitted = fit(
        detector,
        SavedMaps(coupled, learnt) if learnt and made.reads_maps else coupled,
        every[:calibration],
        benign.tensor(classifier) if benign.ids else None,
        fooled.tensor(classifier) if fooled.ids else None,
        false_positives=false_positives,
        calibration_ids=found.ids[:calibration],
        benign_ids=benign.ids,
        attacked_ids=fooled.ids,
        source=source,
    )
    return dataclasses.replace(fitted, system=coupled)


def _right_images(
    data: ImageData, classifier: Classifier, left_out: Sequence[Members], wanted: int
) -> Iterator[tuple[Tensor, list[str]]]:
    """Yield images that the classifier gets right, with their ids, until there are ``wanted`` ones."""
    ids = {image_id for members in left_out for image_id in members.ids}
    pixels = {held for members in left_out for held in members.pixels}
    found = 0
    for batch in data.batches(classifier.image_size, classifier.channels, BATCH, None, classifier.resizing):
        if found >= wanted:
            return
        if not batch.records:
            continue
        right = (classifier.logits(batch.images).argmax(1).cpu() == batch.labels).tolist()
        members = Split.of(batch.images, classifier, batch.ids, name=f"the data set {data.name!r}").members
        taken: list[int] = []
        for place, good in enumerate(right):
            image_id, held = members.ids[place], members.pixels[place]
            if good and image_id not in ids and held not in pixels and found + len(taken) < wanted:
                taken.append(place)
                ids.add(image_id)
                pixels.add(held)
        found += len(taken)
        yield batch.images[taken], [members.ids[place] for place in taken]


def _members(run: Run, classifier: Classifier) -> Members:
    """Return the identities of a run's images."""
    images, ids = _saved(run, "clean", classifier, range(len(run.image_ids)))
    return Split.of(images, classifier, ids, name=f"the run in {run.path}").members


def _saved(run: Run, label: str, classifier: Classifier, places: Sequence[int]) -> tuple[Tensor, list[str]]:
    from underfire.runs.saved_images import SavedImages

    batch = SavedImages(run, label).load(classifier.image_size, classifier.channels, places, classifier.resizing)
    return batch.images, batch.ids


def _add_run(run: Run, classifier: Classifier, benign: Chosen, fooled: Chosen) -> None:
    """Add the clean images of a run, and those of its attacks that succeeded."""
    if run.record.get("classifier_sha256") != classifier.sha256():
        raise InputError(
            f"attacked: the run in {run.path} attacked {run.classifier} with other weights or another normalisation "
            f"than {classifier.name} has: a detector learns from attacks on its own classifier."
        )
    known = set(benign.ids)
    fresh = [place for place, image_id in enumerate(run.image_ids) if run.correct[place] and image_id not in known]
    if fresh:
        benign.add(*_saved(run, "clean", classifier, fresh))
    for part in run.comparisons:
        success = np.asarray(part.column("attack", part.interpreters[0], "success"), dtype=bool) & run.correct
        if success.any():
            fooled.add(*_saved(run, part.cell.label, classifier, np.flatnonzero(success).tolist()))
