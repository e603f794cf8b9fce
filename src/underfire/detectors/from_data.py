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
from underfire.detectors.scoring import members_of, saved
from underfire.detectors.split import Known, Members, Split
from underfire.errors import DataError, InputError, TooFewImagesError
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
        contents: N; see ``ImageData.content``.
    """

    images: list[Tensor] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)

    def add(self, images: Tensor, ids: Sequence[str], contents: Sequence[str]) -> None:
        """Add images with what tells them."""
        if len(ids):
            self.images.append(images)
            self.ids += ids
            self.contents += contents

    def part(self, begin: int, end: int | None = None) -> Chosen:
        """Return some of the images in a row."""
        return Chosen([torch.cat(self.images)[begin:end]], self.ids[begin:end], self.contents[begin:end])

    def split(self, classifier: Classifier, name: str) -> Split:
        """Return the images as the argument ``name`` of ``fit``."""
        images, clean = torch.cat(self.images), name != "attacked"
        return Split.of(images, classifier, self.ids, clean=clean, name=name, contents=self.contents)


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
        apart_from: finished runs whose images are left out, because the detector is to be tested on them; those of the
            runs in ``attacked``, too.
        false_positives, source: see ``fit``.
        on_image: called with the number of images found and wanted.

    Raises:
        InputError: as ``fit``; or a run attacked another classifier.
        TooFewImagesError: the data hold too few images that the classifier gets right.
        DataError: no attack of the runs in ``attacked`` succeeded.
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
    sources, unseen = ([members_of(run, classifier) for run in runs] for runs in (learnt, tested))
    wanted = calibration + (count if made.learns else 0)
    found = Chosen()
    for part in _right_images(data, classifier, Known(*sources, *unseen), wanted):
        found.add(*part)
        if on_image is not None:
            on_image(len(found.ids), wanted)
    if len(found.ids) < wanted:
        raise TooFewImagesError(
            f"{data.name!r} has {len(found.ids)} images that can be taken, and {wanted} are wanted: {calibration} for "
            f"the threshold and {wanted - calibration} to learn from. An image can be taken if the classifier gets it "
            "right, and it is in none of the named runs.",
            len(found.ids),
        )
    benign, fooled = found.part(calibration), Chosen()
    known = Known()
    for run, members in zip(learnt, sources, strict=True):
        _add_run(run, members, classifier, Known(*unseen), known, benign, fooled)
    if learnt and not fooled.ids:
        apart = ", not counting images of the runs that it is to be tested on (apart_from)" if tested else ""
        raise DataError(
            f"attacked: no attack of these runs succeeded{apart}, so that there is nothing to learn from. Attack other "
            "images."
        )
    coupled = with_interpreters(made, system)
    fitted = fit(
        detector,
        SavedMaps(coupled, learnt) if learnt and made.reads_maps else coupled,
        found.part(0, calibration).split(classifier, "calibration"),
        benign.split(classifier, "benign") if benign.ids else None,
        fooled.split(classifier, "attacked") if fooled.ids else None,
        false_positives=false_positives,
        source=source,
    )
    return dataclasses.replace(fitted, system=coupled)


def _right_images(
    data: ImageData, classifier: Classifier, left_out: Known, wanted: int
) -> Iterator[tuple[Tensor, list[str], list[str]]]:
    """Yield images that the classifier gets right, with ids and contents, until there are ``wanted`` ones.

    Each image is added to those that are left out.
    """
    found = 0
    batches = data.batches(classifier.image_size, classifier.channels, BATCH, None, classifier.resizing)
    for begin, batch in zip(range(0, len(data), BATCH), batches, strict=True):
        if found >= wanted:
            return
        places = range(begin, min(begin + BATCH, len(data)))
        if not batch.records:
            continue
        right = (classifier.logits(batch.images).argmax(1).cpu() == batch.labels).tolist()
        stored = {data.record(place).image_id: data.content(place) for place in places}
        contents = [stored[image_id] for image_id in batch.ids]
        name = f"the data set {data.name!r}"
        members = Split.of(batch.images, classifier, batch.ids, name=name, contents=contents).members
        taken: list[int] = []
        for place, (good, image) in enumerate(zip(right, members, strict=True)):
            if good and image not in left_out and found + len(taken) < wanted:
                taken.append(place)
                left_out.add(image)
        found += len(taken)
        yield batch.images[taken], [batch.ids[place] for place in taken], [contents[place] for place in taken]


def _add_run(
    run: Run, members: Members, classifier: Classifier, unseen: Known, known: Known, benign: Chosen, fooled: Chosen
) -> None:
    """Add the clean images of a run, and those of its attacks that succeeded.

    Args:
        members: the identities of the run's images.
        unseen: images that are left out.
        known: clean images of other runs, which are not added again; those of this run are put into it.
        benign, fooled: what is added to.
    """
    if run.record.get("classifier_sha256") != classifier.sha256():
        raise InputError(
            f"attacked: the run in {run.path} attacked {run.classifier} with other weights or another normalisation "
            f"than {classifier.name} has: a detector learns from attacks on its own classifier."
        )
    identities = list(members)
    usable = np.array([image not in unseen for image in identities], dtype=bool) & run.correct

    def add(chosen: Chosen, label: str, places: Sequence[int]) -> None:
        if places:
            images = torch.cat(list(saved(run, label, places, classifier)))
            held = [identities[place] for place in places]
            chosen.add(images, [image.image_id for image in held], [image.content for image in held])

    add(benign, "clean", [place for place in np.flatnonzero(usable).tolist() if identities[place] not in known])
    for image in identities:
        known.add(image)
    for part in run.comparisons:
        success = np.asarray(part.column("attack", part.interpreters[0], "success"), dtype=bool) & usable
        add(fooled, part.cell.label, np.flatnonzero(success).tolist())
