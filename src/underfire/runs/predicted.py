"""The classifier's own predictions as labels, for images whose classes nobody knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from underfire.classifiers import Classifier
from underfire.data import ImageData, Record
from underfire.data.dataset import Batch
from underfire.data.pixels import Picture
from underfire.data.resizing import Resizing
from underfire.runs.selection import read_logits_of

BATCH = 8
"""Images that are classified at once."""


class PredictedData(ImageData):
    """The images of ``data``, each with the class that ``classifier`` gives it as its label.

    Images are classified when their labels are asked for. An image that cannot be read, or that has no finite logits,
    has the label 0; such images are left out of all runs.

    Args:
        data: the images; their own labels do not count.
        classifier: the classifier.
        classes: its number of classes.
    """

    def __init__(self, data: ImageData, classifier: Classifier, classes: int) -> None:
        self.data, self.classifier = data, classifier
        self.name, self.layout, self.white = data.name, data.layout, data.white
        self.class_names = tuple(classifier.class_names or map(str, range(classes)))
        self._labels: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.data)

    def record(self, index: int) -> Record:
        record = self.data.record(index)
        return Record(record.image_id, record.path, self._label(index))

    def read(self, index: int) -> Picture:
        return self.data.read(index)

    def content(self, index: int) -> str:
        return self.data.content(index)

    def describe(self) -> str:
        images, classes = self._counts
        return f"{self.layout or self.name}, labels as the classifier predicts them, {classes}, {images}"

    def white_level(self) -> float | None:
        return self.data.white_level()

    def mask(self, index: int) -> Tensor | None:
        return self.data.mask(index)

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.data.fingerprint()}predicted".encode()).hexdigest()

    def _batches(
        self,
        size: tuple[int, int] | None,
        channels: int,
        batch_size: int,
        chosen: Sequence[int],
        resizing: Resizing,
    ) -> Iterator[Batch]:
        network = self.classifier
        as_it_reads = (size, channels, resizing) == (network.image_size, network.channels, network.resizing)
        batches = self.data.batches(size, channels, batch_size, chosen, resizing)
        for begin, batch in zip(range(0, len(chosen), batch_size), batches, strict=True):
            indices = chosen[begin : begin + batch_size]
            if as_it_reads and not self._labels.keys() >= set(indices):  # these very images tell their labels
                self._learn(indices, batch)
            place = {self.data.record(index).image_id: index for index in indices}
            yield replace(batch, records=[self.record(place[record.image_id]) for record in batch.records])

    def _label(self, index: int) -> int:
        if index not in self._labels:  # the next images will most likely be asked for, too
            indices = [each for each in range(index, min(index + BATCH, len(self))) if each not in self._labels]
            network = self.classifier
            self._learn(
                indices,
                next(self.data.batches(network.image_size, network.channels, BATCH, indices, network.resizing)),
            )
        return self._labels[index]

    def _learn(self, indices: Sequence[int], batch: Batch) -> None:
        """Classify the images of a batch, which are those at ``indices`` as the classifier reads them."""
        new = dict.fromkeys(indices, 0)
        if batch.records:
            place = {self.data.record(index).image_id: index for index in indices}
            logits, usable = read_logits_of(self.classifier, batch.images)
            predicted = logits.argmax(1).where(usable, 0).tolist()
            new |= {place[each]: label for each, label in zip(batch.ids, predicted, strict=True)}
        for index, label in new.items():
            self._labels.setdefault(index, label)
