"""Labels in the order of the classifier's classes, for data with other class orders or with only some classes."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from underfire.data.class_map import fold, read_class_map
from underfire.data.classes import is_number
from underfire.data.dataset import ImageData, Record
from underfire.data.imagenet import CLASS_INDEX, CLASSES, is_wordnet_id
from underfire.data.pixels import Picture
from underfire.errors import InputError, warn
from underfire.text import first_few

INDEX_FILE = "imagenet_class_index.json"


class RelabelledData(ImageData):
    """The images of ``data`` with other labels.

    Args:
        data: the images.
        labels: the new label of each old label.
        class_names: one name per new label.
    """

    def __init__(self, data: ImageData, labels: Sequence[int], class_names: Sequence[str]) -> None:
        self.data = data
        self.name, self.layout, self.white = data.name, data.layout, data.white
        self.labels = tuple(labels)
        self.class_names = tuple(class_names)

    def __len__(self) -> int:
        return len(self.data)

    def record(self, index: int) -> Record:
        record = self.data.record(index)
        return Record(record.image_id, record.path, self.labels[record.label])

    def read(self, index: int) -> Picture:
        return self.data.read(index)

    def content(self, index: int) -> str:
        return self.data.content(index)

    def describe(self) -> str:
        return self.data.describe()

    def white_level(self) -> float | None:
        return self.data.white_level()

    def used_labels(self) -> set[int]:
        return {self.labels[label] for label in self.data.used_labels()}

    def mask(self, index: int) -> Tensor | None:
        return self.data.mask(index)

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.data.fingerprint()}{self.labels}".encode()).hexdigest()


def in_classifier_order(
    data: ImageData, class_names: Sequence[str] | None, count: int | None = None, class_map: str | Path | None = None
) -> ImageData:
    """Give ``data`` the class numbers of the classifier as labels.

    The class names of ``data`` are looked up in ``class_map`` or, without one, in ``imagenet_class_index.json`` in the
    data's folder and among the classifier's ``class_names``; WordNet ids (``n02123159``) are those of ImageNet if the
    classifier has 1,000 classes. Case, spaces, underscores and hyphens do not count. A name such as "tench, Tinca
    tinca" is also found by each of its parts. Names that are numbers are class numbers.

    Classes of ``data`` without images take no number, if the classifier has no class of their name.

    Warns if no name is found; then the data's classes are assumed to be in the classifier's order.

    Args:
        data: the images.
        class_names: the classifier's class names in the order of its logits; None if it has none.
        count: the classifier's number of classes, if it is known.
        class_map: a file, see ``read_class_map``.

    Returns:
        The relabelled data; ``data`` itself if its labels are right already.

    Raises:
        InputError: only some of the names are found, or ``class_map`` lacks a name.
    """
    count = len(class_names) if class_names else count
    if class_map is not None:
        known = _among(class_names) | read_class_map(class_map, class_names)
        data = _without_empty_classes(data, known, count)
        return _apply(data, _look_up(data, known, f"class map {class_map}"), class_names, count)
    if _same_names(data.class_names, class_names):
        return data
    if all(map(is_number, data.class_names)):
        return _by_number(data, class_names, count)
    known = _imagenet_ids(data, count) | _index_beside(data, count) | _among(class_names)
    data = _without_empty_classes(data, known, count)
    if _same_names(data.class_names, class_names):
        return data
    if any(fold(name) in known for name in data.class_names):
        return _apply(data, _look_up(data, known, "the classifier's class names"), class_names, count)
    if class_names:
        warn(
            f"none of the class names of {data.name!r} ({_quoted(data.class_names)}) is one of the classifier's "
            f"({_quoted(class_names)}): they are assumed to be in the classifier's order. If they are not, give the "
            "class of each name with --class-map."
        )
    return data


def _without_empty_classes(data: ImageData, known: Mapping[str, int], count: int | None) -> ImageData:
    """Take out classes that have no images and no known name; of unknown names, only if there are too many classes."""
    named = any(fold(name) in known for name in data.class_names)
    if all(fold(name) in known for name in data.class_names) if named else count in (None, len(data.class_names)):
        return data
    used = data.used_labels()
    kept = [label for label, name in enumerate(data.class_names) if label in used or fold(name) in known]
    if len(kept) == len(data.class_names):
        return data
    position = {label: place for place, label in enumerate(kept)}
    labels = [position.get(label, -1) for label in range(len(data.class_names))]
    return RelabelledData(data, labels, [data.class_names[label] for label in kept])


def _same_names(names: Sequence[str], class_names: Sequence[str] | None) -> bool:
    return class_names is not None and [fold(name) for name in names] == [fold(name) for name in class_names]


def _among(class_names: Sequence[str] | None) -> dict[str, int]:
    """Return the class number of each folded name and part of a name, without names of several classes."""
    whole = [(fold(name), number) for number, name in enumerate(class_names or ())]
    parts = [
        (fold(part), number)
        for number, name in enumerate(class_names or ())
        if "," in name
        for part in name.split(",")
        if part.strip()
    ]
    found: dict[str, int] = {}
    for pairs in (parts, whole):  # a whole name has precedence over a part of a name
        times = Counter(name for name, _ in dict.fromkeys(pairs))
        found |= {name: number for name, number in pairs if times[name] == 1}
    return found


def _index_beside(data: ImageData, count: int | None) -> dict[str, int]:
    """Read the index in the data's folder; empty if it belongs to a classifier with another number of classes."""
    root = getattr(data, "root", None)
    file = Path(root) / INDEX_FILE if root is not None else None
    known = read_class_map(file) if file is not None and file.is_file() else {}
    return known if known and count in (None, max(known.values()) + 1) else {}


def _imagenet_ids(data: ImageData, count: int | None) -> dict[str, int]:
    """Return ImageNet's class numbers by WordNet id; empty unless all classes of the data are ids of ImageNet."""
    if count != CLASSES or not all(map(is_wordnet_id, data.class_names)):
        return {}
    known = read_class_map(CLASS_INDEX)
    return known if known.keys() >= set(data.class_names) else {}


def _by_number(data: ImageData, class_names: Sequence[str] | None, count: int | None) -> ImageData:
    """Use the names as class numbers. Keep ``data`` if a number is too large, as in folders 1..10 of ten classes."""
    numbers = [int(name) for name in data.class_names]
    if count is not None and max(numbers) >= count:
        return data
    return _apply(data, numbers, class_names, count)


def _look_up(data: ImageData, known: Mapping[str, int], where: str) -> list[int]:
    missing = [name for name in data.class_names if fold(name) not in known]
    if missing:
        near = difflib.get_close_matches(fold(missing[0]), known, n=1)
        hint = f" The nearest to {missing[0]!r} is {near[0]!r}." if near else ""
        raise InputError(
            f"{len(missing)} of the {len(data.class_names)} class names of {data.name!r} are not in {where}, or stand "
            f"for two classes there: {_quoted(missing)}.{hint} Give the class of each name with --class-map FILE."
        )
    return [known[fold(name)] for name in data.class_names]


def _apply(data: ImageData, labels: list[int], class_names: Sequence[str] | None, count: int | None) -> ImageData:
    if labels == list(range(len(labels))):
        return data
    if count is not None and max(labels) >= count:
        raise InputError(
            f"the class map gives {data.class_names[labels.index(max(labels))]!r} the class {max(labels)}; expected 0 "
            f"to {count - 1}, because the classifier has {count} classes."
        )
    names = list(class_names or map(str, range(max(max(labels) + 1, count or 0))))
    if not class_names:
        for name, label in zip(data.class_names, labels, strict=True):
            names[label] = name
    return RelabelledData(data, labels, names)


def _quoted(names: Sequence[str]) -> str:
    return first_few([repr(name) for name in names])
