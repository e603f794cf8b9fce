"""The images that a masker is trained on: decoded once where memory allows, drawn by step number."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.errors import DataError

MEMORY = 1 << 30
"""Bytes of decoded images that are kept."""


class Pictures:
    """Images of ``data`` as ``classifier`` takes them, each decoded when it is first asked for.

    They are kept as 8-bit pixels where all of them fit into ``memory`` bytes, and decoded each time where not.
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
        """Height and width of the images as the classifier takes them. Raises DataError where none can be read."""
        if self.classifier.image_size is not None:
            return self.classifier.image_size
        for batch in self.data.batches(None, self.classifier.channels, 8, None, self.classifier.resizing):
            if batch.records:
                return (batch.images.shape[2], batch.images.shape[3])
        raise DataError(f"none of the {len(self)} images of {self.data.name!r} can be read.")

    def load(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Images float32 N x C x H x W in [0, 1] and labels int64 N. Those that cannot be read are left out.

        Raises:
            DataError: none of them can be read.
        """
        missing = [index for index in dict.fromkeys(indices) if not self._known[index] and index not in self._lost]
        fresh = self._decode(missing)
        chosen = [index for index in indices if index not in self._lost]
        if not chosen:
            raise DataError(f"none of {len(indices)} images of {self.data.name!r} can be read.")
        kept = self._pixels
        pixels = torch.stack([fresh[index] for index in chosen]) if kept is None else kept[chosen]
        return pixels.float().div_(255), self._labels[chosen]

    def _decode(self, indices: list[int]) -> dict[int, Tensor]:
        if not indices:
            return {}
        classifier = self.classifier
        batch = self.data.load(classifier.image_size, classifier.channels, indices, classifier.resizing)
        read: dict[int, Tensor] = {}
        for index in indices:  # those that were read come in the same order; equal images may have equal ids
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
    """The indices of step ``step`` (from 0), when 0..count-1 are shuffled anew after each round."""
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
    """Classes to ask for, int64 N, and whether each is the image's own, bool N.

    With probability ``share`` another class than the label, all equally likely.
    """
    fake = torch.rand(len(labels), generator=generator) < share
    shift = torch.randint(1, classes, (len(labels),), generator=generator)
    return torch.where(fake, (labels + shift) % classes, labels), ~fake
