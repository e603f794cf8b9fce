"""Selection: the images of a run, which are the first ones that the classifier gets right, in some order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from underfire.attacks.benign import honest_logits, read_logits, warn_near_chance
from underfire.classifiers import Classifier, check_images, check_labels
from underfire.data import ImageData
from underfire.errors import ClassifierError, DataError, InputError, UnderfireError, warn
from underfire.runs import manifest
from underfire.runs.looking import BATCH, InOrder, Order
from underfire.text import counted, first_few, no_image, plain

Result = TypeVar("Result")

NOT_FINITE = "the classifier returns NaN or infinite logits"
"""The reason why an image is unusable."""


@dataclass
class Selection:
    """The images of a run.

    Args:
        considered: indices into the data, in its order, of the images that were read and classified.
        correct: for each of them, True if it was classified correctly.
        attacked: for each of them, True if it is attacked: it was classified correctly, and is not of the target class.
        unreadable: paths of images that could not be read, with the reason.
        unusable: ids of images for which the classifier returns NaN or infinite logits, with that reason. They are left
            out like unreadable ones.
        classes: the number of classes.
        size: height and width of the images.
        contents: for each image in ``considered``, the hash of what is stored, see ``ImageData.content``; empty for a
            selection of an earlier version.
    """

    considered: list[int] = field(default_factory=list)
    correct: list[bool] = field(default_factory=list)
    attacked: list[bool] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    unusable: list[tuple[str, str]] = field(default_factory=list)
    classes: int = 0
    size: tuple[int, int] | None = None
    contents: list[str] = field(default_factory=list)

    def shards(self, size: int) -> list[list[int]]:
        """Cut the positions in ``considered`` into parts that hold ``size`` attacked images each (the last, fewer)."""
        parts: list[list[int]] = [[]]
        held = 0
        for position, attacked in enumerate(self.attacked):
            if held == size:
                parts.append([])
                held = 0
            parts[-1].append(position)
            held += attacked
        return parts

    def sha256(self) -> str:
        """Hash which images were looked at, which were right, and which are attacked."""
        text = json.dumps([self.considered, self.correct, self.attacked])
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Selection:
        """Make the selection from JSON values."""
        pairs = {name: [(path, why) for path, why in values[name]] for name in ("unreadable", "unusable")}
        size = None if values["size"] is None else (values["size"][0], values["size"][1])
        return cls(**{**values, **pairs, "size": size})

    def in_data_order(self) -> Selection:
        """Sort the images by their indices."""
        places = sorted(range(len(self.considered)), key=self.considered.__getitem__)
        return replace(
            self,
            considered=[self.considered[place] for place in places],
            correct=[self.correct[place] for place in places],
            attacked=[self.attacked[place] for place in places],
            contents=[self.contents[place] for place in places],
        )


def read_selection(folder: Path, record: Mapping[str, Any]) -> Selection | None:
    """Read the selection of a run from its folder; None if there is none, or the file is not the run's.

    Args:
        folder: the run's folder.
        record: the content of its ``run.json``.
    """
    try:
        content = json.loads((folder / "selection.json").read_text())
        found = Selection.from_dict(content["selection"])
        if content["sha256"] != manifest.digest_of(content["selection"]):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.sha256() == record.get("selection_sha256") else None


def select(
    data: ImageData,
    classifier: Classifier,
    count: int | None,
    excluded_class: int | None = None,
    on_batch: Callable[[int], None] | None = None,
    order: Order | None = None,
    also_right: Sequence[tuple[Classifier, ImageData]] = (),
) -> Selection:
    """Select the first ``count`` images of ``data`` that the classifier gets right.

    Args:
        count: the number of images to attack; all that can be if None.
        excluded_class: images of this class are not attacked (a target class cannot be an image's own).
        on_batch: called with the number of images that were looked at.
        order: the order in which images are looked at; the order of the data if None.
        also_right: classifiers that must get an attacked image right, too, each with the data in the order of its
            classes.

    Returns:
        The selection, in the order of the data.

    Raises:
        DataError: no image can be read, or none is classified correctly.
        ClassifierError: the classifier returns NaN or infinite logits for all images.
        InputError: a label does not fit the classifier.
    """
    order = order or InOrder(data, count)
    selection, found, looked_at = Selection(), 0, 0
    while found != count and (indices := order.propose(None if count is None else count - found)):
        batch = next(
            data.batches(classifier.image_size, classifier.channels, len(indices), indices, classifier.resizing)
        )
        if batch.records:
            right, usable = _right(classifier, batch.images, batch.labels, data, selection)
            place = _places(data, indices)
            agreed = set(place.values())
            for other, same_data in also_right:
                agreed &= _right_places(other, same_data, indices)
            for record, correct, finite in zip(batch.records, right.tolist(), usable.tolist(), strict=True):
                if not finite:
                    selection.unusable.append((record.image_id, NOT_FINITE))
                    continue
                index, attacked = place[record.image_id], correct and record.label != excluded_class
                attacked = attacked and index in agreed
                selection.considered.append(index)
                selection.correct.append(correct)
                selection.attacked.append(attacked)
                selection.contents.append(data.content(index))
                if attacked:
                    found += 1
                    order.hear(index)
                if found == count:
                    break
        until = indices.index(selection.considered[-1]) + 1 if found == count else len(indices)
        paths = {data.record(index).path for index in indices[:until]}
        selection.unreadable += [(path, why) for path, why in batch.unreadable if path in paths]
        looked_at += len(indices)
        if len(selection.unusable) >= BATCH and not selection.considered:
            break  # the network is broken, and further images would only take time
        if on_batch is not None:
            on_batch(looked_at)
    check_selection(selection, data, found, count, first_few([other.name for other, _ in also_right]))
    return selection.in_data_order()


def _places(data: ImageData, indices: Sequence[int]) -> dict[str, int]:
    """Return the index of each image by its id. Raises DataError if two images have one id."""
    found: dict[str, int] = {}
    for index in indices:
        image_id = data.record(index).image_id
        if image_id in found:
            raise DataError(
                f"images {found[image_id]} and {index} of {data.name!r} have the same id {plain(image_id)!r}; expected "
                "distinct ids, by which results are told apart."
            )
        found[image_id] = index
    return found


def _right(
    classifier: Classifier, images: Tensor, labels: Tensor, data: ImageData, selection: Selection
) -> tuple[Tensor, Tensor]:
    """Return True for images that are classified correctly, and True for images with finite logits, bool N each."""
    images = check_images(images, classifier)
    logits, usable = read_logits_of(classifier, images)
    selection.classes = logits.shape[1]
    selection.size = (images.shape[2], images.shape[3])
    try:
        labels = check_labels(labels, len(images), logits.shape[1])
    except InputError as error:
        raise InputError(f"{error} The data set {data.name!r} has {len(data.class_names)} classes.") from error
    usable = usable.cpu()
    return (logits.argmax(1).cpu() == labels) & usable, usable


def _right_places(classifier: Classifier, data: ImageData, indices: Sequence[int]) -> set[int]:
    """Return those of some places in the data whose images another classifier gets right."""
    size, channels = classifier.image_size, classifier.channels
    batch = next(data.batches(size, channels, len(indices), list(indices), classifier.resizing))
    if not batch.records:
        return set()
    place = _places(data, indices)
    right, _ = _right(classifier, batch.images, batch.labels, data, Selection())
    return {place[record.image_id] for record, good in zip(batch.records, right.tolist(), strict=True) if good}


def logits_of(classifier: Classifier, images: Tensor) -> Tensor:
    """Compute honest logits N x K. Raises ClassifierError if the classifier fails on images of this shape."""
    return _guarded(honest_logits, classifier, images)


def read_logits_of(classifier: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute logits N x K, and which images have finite ones, bool N. Raises ClassifierError as ``logits_of``."""
    return _guarded(read_logits, classifier, images)


def _guarded(read: Callable[[Classifier, Tensor], Result], classifier: Classifier, images: Tensor) -> Result:
    try:
        return read(classifier, images)
    except UnderfireError:
        raise
    except Exception as error:  # the user's own code runs here, and may raise anything
        raise ClassifierError(
            f"{classifier.name} fails on images of {' x '.join(map(str, images.shape[1:]))} (channels x height x "
            f"width): {type(error).__name__}: {error}. Does the classifier say which image_size and channels it takes?"
        ) from error


def check_selection(selection: Selection, data: ImageData, found: int, count: int | None, agreed: str = "") -> None:
    """Warn of what a reader of the results should know about a selection.

    Args:
        selection: the images that were looked at.
        data: the data that they come from.
        found: the number of images to attack.
        count: the number that was asked for; all if None.
        agreed: the names of classifiers that must get the images right, too.

    Raises:
        DataError: there is nothing to attack.
        ClassifierError: the network gives no finite number for any image.
    """
    reasons = [reason for _, reason in selection.unreadable]
    some = first_few(reasons, separator="; ")
    if selection.unusable and not selection.considered:
        raise ClassifierError(
            f"{NOT_FINITE} for all of the first {len(selection.unusable)} images: its weights or its normalisation are "
            "broken."
        )
    if not selection.considered and not reasons:
        raise DataError(f"every image of {data.name!r} already belongs to the target class.")
    if not selection.considered:
        raise DataError(f"{no_image(len(reasons), f' of {data.name!r}', 'can', 'be read')}: {some}")
    seen, correct = len(selection.considered), sum(selection.correct)
    if not correct:
        raise DataError(
            f"{no_image(seen, f' of {data.name!r}', 'is', 'classified correctly')}, so there is nothing to attack. Are "
            "the classes in the classifier's order, and is its normalisation right?"
        )
    if not found and agreed:
        raise DataError(f"no image of {data.name!r} is classified correctly by {agreed}, too.")
    if not found:
        raise DataError(f"every correctly classified image of {data.name!r} already belongs to the target class.")
    if count is not None and found < count:
        warn(f"count is {count}, but {data.name!r} has only {counted(found, 'image')} that can be attacked.")
    if reasons:
        warn(f"{counted(len(reasons), 'image')} of {data.name!r} cannot be read and {_left(reasons)} left out: {some}")
    if selection.unusable:
        named = first_few([plain(name) for name, _ in selection.unusable])
        warn(
            f"{NOT_FINITE} for {counted(len(selection.unusable), 'image')} of {data.name!r}, which "
            f"{_left(selection.unusable)} left out: {named}"
        )
    warn_near_chance(correct, seen, selection.classes)


def _left(images: Sequence[object]) -> str:
    return "is" if len(images) == 1 else "are"
