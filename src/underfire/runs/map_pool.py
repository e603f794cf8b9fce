"""The pool of maps for ``--target-map class``: from the first images of each class in the whole data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks import MapPool, RandomClass
from underfire.attacks.benign import Benign
from underfire.attacks.targets import ClassRule, chosen_classes
from underfire.classifiers import Classifier, check_images
from underfire.data import Batch, ImageData
from underfire.errors import InputError
from underfire.memory import suited_size
from underfire.runs.selection import Selection, logits_of, read_logits_of
from underfire.system import System, SystemView
from underfire.text import first_few

POOL = 8
"""The number of images of each class from whose maps targets are drawn: the first correctly classified ones."""


def read_pool(
    system: System, view: SystemView, data: ImageData, selection: Selection, rule: ClassRule, seed: int
) -> tuple[MapPool, ClassRule]:
    """Read the maps of every class that an attacked image wants.

    Only these classes are looked through, and the pool of a class does not depend on which images are attacked. Random
    targets are drawn among the classes of which the data have correctly classified images.

    Returns:
        The pool, and the rule for target classes with that restriction.

    Raises:
        InputError: the data have no correctly classified image of a wanted class.
    """
    examples = _Examples(system.classifier, data, selection)
    draws = isinstance(rule, RandomClass)
    while True:
        if draws:
            # A class that turns out to have none is left out, and nobody who had another one loses it thereby.
            rule = RandomClass(examples.classes)
            if len(examples.classes) < 2:
                raise InputError(
                    f"target_map is 'class', and {data.name!r} has correctly classified images of class "
                    f"{examples.named(examples.classes)} alone, so that there is no other class whose map could be "
                    "shown: give data of more classes, or another --target-map."
                )
        images = _attacked(system, data, selection, rule)
        wanted = sorted({number for benign in images for number in chosen_classes(rule, view, benign, seed).tolist()})
        lacking = [number for number in wanted if not examples.right(number)]
        if not lacking:
            return examples.read(system, wanted), rule
        if not draws:
            raise InputError(
                f"target_map is 'class', and {data.name!r} has no correctly classified image of class "
                f"{examples.named(lacking)}, whose map is to be shown; it has images of class "
                f"{examples.named(examples.classes)}. Give data with such images, another --target, or another "
                "--target-map."
            )


def _attacked(system: System, data: ImageData, selection: Selection, rule: ClassRule) -> Iterator[Benign]:
    """Yield the attacked images for ``rule``, on the classifier's device: without what the rule does not look at."""
    classifier, device = system.classifier, system.classifier.device
    chosen = [index for index, taken in zip(selection.considered, selection.attacked, strict=True) if taken]
    if rule.needs_images:
        for batch, images in _batches(classifier, data, chosen):
            ids = randomness.identify(images, batch.ids).to(device)
            images, labels = images.to(device), batch.labels.to(device)
            maps = system.maps(images, labels, ids) if rule.needs_maps else {}
            yield Benign(images, labels, ids, logits_of(classifier, images), maps, tuple(system.readers), system.labels)
    else:
        records = [data.record(index) for index in chosen]
        nothing = torch.empty(len(records), 0, device=device)
        labels = torch.tensor([record.label for record in records], dtype=torch.int64, device=device)
        ids = randomness.identify(nothing, [record.image_id for record in records]).to(device)
        logits = torch.empty(1, 1, device=device).expand(len(records), selection.classes)
        yield Benign(nothing, labels, ids, logits, {})


def _batches(classifier: Classifier, data: ImageData, chosen: Sequence[int]) -> Iterator[tuple[Batch, Tensor]]:
    """Yield the chosen images in batches, and their checked pixels; unreadable ones are left out."""
    size = suited_size(*(classifier.image_size or (224, 224)), classifier.device)
    for batch in data.batches(classifier.image_size, classifier.channels, size, chosen, classifier.resizing):
        if batch.records:
            yield batch, check_images(batch.images, classifier)


class _Examples:
    """The first correctly classified images of each class, which are looked for when the class is first wanted."""

    def __init__(self, classifier: Classifier, data: ImageData, selection: Selection) -> None:
        self._classifier, self._data = classifier, data
        self._known = dict(zip(selection.considered, selection.correct, strict=True))
        self._places: dict[int, list[int]] = {}
        self._right: dict[int, list[int]] = {}
        for index in range(len(data)):
            label = data.record(index).label
            if label < selection.classes:
                self._places.setdefault(label, []).append(index)

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes with images, except classes whose images all turned out to be misclassified."""
        return tuple(sorted(number for number in self._places if self._right.get(number) != []))

    def right(self, number: int) -> list[int]:
        """Return the indices of the first correctly classified images of class ``number``."""
        if number not in self._right:
            found: list[int] = []
            places = self._places.get(number, [])
            for begin in range(0, len(places), POOL):
                self._look(places[begin : begin + POOL])
                found += [place for place in places[begin : begin + POOL] if self._known.get(place)]
                if len(found) >= POOL:
                    break
            self._right[number] = found[:POOL]
        return self._right[number]

    def _look(self, places: Sequence[int]) -> None:
        unknown = {self._data.record(place).image_id: place for place in places if place not in self._known}
        for batch, images in _batches(self._classifier, self._data, list(unknown.values())):
            logits, usable = read_logits_of(self._classifier, images)
            right = ((logits.argmax(1) == batch.labels.to(logits.device)) & usable).cpu()
            self._known |= {unknown[name]: bool(one) for name, one in zip(batch.ids, right, strict=True)}

    def read(self, system: System, classes: Sequence[int]) -> MapPool:
        """Read the maps of the examples of ``classes``."""
        places = sorted(place for number in classes for place in self.right(number))
        parts = [
            MapPool.read(system, images, batch.labels, batch.ids)
            for batch, images in _batches(self._classifier, self._data, places)
        ]
        maps = {name: torch.cat([part.maps[name] for part in parts]) for name in system.interpreters}
        return MapPool(maps, torch.cat([part.labels for part in parts]), torch.cat([part.ids for part in parts]))

    def named(self, classes: Sequence[int]) -> str:
        """Return the first few of ``classes`` with their names, as text."""
        names = self._data.class_names
        shown = [
            f"{number} ({names[number]})" if number < len(names) and names[number] != str(number) else str(number)
            for number in classes
        ]
        return first_few(shown, 8)
