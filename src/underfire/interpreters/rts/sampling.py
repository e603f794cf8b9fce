"""Training images of a masker: decoded once if memory allows, drawn by step number."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.errors import DataError
from underfire.text import no_image

MEMORY = 1 << 30
"""Largest memory for decoded images, in bytes."""


class Pictures:
    """The images of ``data``, prepared for ``classifier`` and decoded when they are first needed.

    If all of them fit into ``memory`` bytes, they are kept as 8-bit pixels; otherwise they are decoded each time.
    """

    def __init__(self, data: ImageData, classifier: Classifier, memory: int = MEMORY) -> None:
        self.data, self.classifier, self.memory = data, classifier, memory
        self._pixels: Tensor | None = None
        self._known = torch.zeros(len(data), dtype=torch.bool)
        self._lost: set[int] = set()
        self._labels = torch.tensor([data.record(index).label for index in range(len(data))], dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._labels)

    def size(self) -> tuple[int, int]:
        """Return height and width of prepared images: the classifier's, or those of the first readable image.

        Raises:
            DataError: the classifier has no image size, and no image can be read.
        """
        if self.classifier.image_size is not None:
            return self.classifier.image_size
        for batch in self.data.batches(None, self.classifier.channels, 8, None, self.classifier.resizing):
            if batch.records:
                return (batch.images.shape[2], batch.images.shape[3])
        raise DataError(f"{no_image(len(self), f' of {self.data.name!r}', 'can', 'be read')}.")

    def load(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Load images, float32 N x C x H x W in [0, 1], and labels, int64 N, leaving out unreadable images.

        Raises:
            DataError: none of the images can be read.
        """
        missing = [index for index in dict.fromkeys(indices) if not self._known[index] and index not in self._lost]
        fresh = self._decode(missing)
        chosen = [index for index in indices if index not in self._lost]
        if not chosen:
            raise DataError(f"no image can be read of the {len(indices)} that were chosen from {self.data.name!r}.")
        kept = self._pixels
        pixels = torch.stack([fresh[index] for index in chosen]) if kept is None else kept[chosen]
        return pixels.float().div_(255), self._labels[chosen]

    def step(self, number: int, count: int, seed: int) -> tuple[Tensor, Tensor, torch.Generator]:
        """Load the images and labels of a training step, and make the generator of its random numbers.

        Args:
            number: of the step, from 0. A step depends on it alone.
            count: images of the step.
            seed: of the order of images and of the random numbers.
        """
        images, labels = self.load(drawn(len(self), count, number, seed))
        return images, labels, torch.Generator().manual_seed(seed * 1_000_003 + number)

    def check_labels(self, classes: int) -> None:
        """Raise DataError if a label is not below ``classes``, the number of classes of the classifier."""
        highest = int(self._labels.max())
        if highest >= classes:
            raise DataError(
                f"{self.data.name!r} has labels up to {highest}; the classes of {self.classifier.name} are "
                f"0..{classes - 1}."
            )

    def _decode(self, indices: list[int]) -> dict[int, Tensor]:
        if not indices:
            return {}
        classifier = self.classifier
        batch = self.data.load(classifier.image_size, classifier.channels, indices, classifier.resizing)
        read: dict[int, Tensor] = {}
        for index in indices:  # the batch has the readable images in this order; equal images may have equal ids
            if len(read) < len(batch.records) and self.data.record(index) == batch.records[len(read)]:
                read[index] = batch.images[len(read)]
        self._lost.update(index for index in indices if index not in read)
        if read and self._pixels is None:
            shape = next(iter(read.values())).shape
            if len(self) * shape.numel() <= self.memory:
                self._pixels = torch.empty(len(self), *shape, dtype=torch.uint8)
        levels = {index: image.mul(255).round().to(torch.uint8) for index, image in read.items()}
        if self._pixels is not None:
            for index, image in levels.items():
                self._pixels[index] = image
                self._known[index] = True
        return levels


def drawn(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Draw the indices of a step (from 0): every round of 0..count-1 is shuffled anew."""
    rounds: dict[int, list[int]] = {}
    chosen = []
    for row in range(step * batch, (step + 1) * batch):
        number = row // count
        if number not in rounds:
            generator = torch.Generator().manual_seed(seed * 100_003 + number)
            rounds[number] = torch.randperm(count, generator=generator).tolist()
        chosen.append(rounds[number][row % count])
    return chosen


def with_fakes(labels: Tensor, classes: int, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose the class to ask for, per image: the label, or with probability ``share`` another class.

    Returns:
        Classes, int64 N, and ``real``, bool N: True if the class is the label. All other classes are equally likely.
    """
    fake = torch.rand(len(labels), generator=generator) < share
    shift = torch.randint(1, classes, (len(labels),), generator=generator)
    return torch.where(fake, (labels + shift) % classes, labels), ~fake
