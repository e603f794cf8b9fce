"""A data set that needs no download: drawn objects on drawn surfaces, with the object's true mask."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from underfire.data.dataset import ImageData, Record
from underfire.data.scenes.outlines import OUTLINES
from underfire.data.scenes.paint import background, paint
from underfire.data.scenes.place import place
from underfire.data.scenes.random import TURN, Draws, Field
from underfire.data.scenes.raster import FULL, coverage
from underfire.errors import InputError, unknown_name

GENERATOR = 1
"""Goes up whenever the same number gives another picture."""

COUNTS = {"test": 1_000, "train": 10_000}
_SUBSETS = {"test": 1, "train": 2}
_LABELS, _OBJECT, _PAINT = range(3)
# Largest turn to either side, in 1/1024: things that stand upright lean, the others lie anyhow.
_LEAN = {"house": 90, "mug": 90, "umbrella": 140}


class Scenes(ImageData):
    """64 x 64 colour pictures of ten kinds of object on natural-looking surfaces, drawn from their number.

    The classes differ by the object's shape alone: its size, turn, place, colour and pattern, the surface, the light
    and the small things beside it are drawn without regard to the class. Every ten pictures hold each class once.
    A picture depends on its subset and number only, and is the same on every machine.

    Args:
        subset: "train" or "test"; no picture is in both.
        count: how many pictures; where None, 10,000 for training and 1,000 for testing. The first ones are the
            same whatever the count.

    Raises:
        InputError: unknown subset, or a count below 1.
    """

    class_names = tuple(OUTLINES)

    def __init__(self, subset: str = "test", *, count: int | None = None) -> None:
        if subset not in _SUBSETS:
            raise unknown_name("subset of scenes", subset, _SUBSETS)
        count = COUNTS[subset] if count is None else count
        if count < 1:
            raise InputError(f"count is {count}; expected at least 1 picture, or None for {COUNTS[subset]:,}.")
        self.name = f"scenes-{subset}"
        self._subset = _SUBSETS[subset]
        self._labels = _shuffled_labels(self._subset, count)

    def __len__(self) -> int:
        return len(self._labels)

    def record(self, index: int) -> Record:
        image_id = f"{self.name}/{self._checked(index):05d}"
        return Record(image_id, image_id, self._labels[index])

    def read(self, index: int) -> Image.Image:
        """A 64 x 64 image of mode RGB."""
        covered = self._coverage(index)
        draws = Draws(self._subset, index, _PAINT)
        return Image.fromarray(np.ascontiguousarray(paint(draws, background(draws), covered)))

    def mask(self, index: int) -> Tensor:
        """bool 64 x 64: the pixels that the object covers by half or more. Its shadow is not part of it."""
        return torch.from_numpy(self._coverage(index) * 2 >= FULL)

    def fingerprint(self) -> str:
        """From the generator's version, the subset, the labels, and the pixels of a few pictures."""
        digest = hashlib.sha256(repr(("scenes", GENERATOR, self.name, self._labels)).encode())
        for index in sorted({len(self) * step // 8 for step in range(8)}):
            digest.update(self.read(index).tobytes())
        return digest.hexdigest()

    def _coverage(self, index: int) -> Field:
        """How much of each pixel the object covers, 0 .. 256."""
        name = self.class_names[self._labels[self._checked(index)]]
        draws = Draws(self._subset, index, _OBJECT)
        return coverage(place(draws, OUTLINES[name](draws), _LEAN.get(name, TURN // 2)))


def _shuffled_labels(subset: int, count: int) -> list[int]:
    """Labels of the first ``count`` pictures: each ten hold every class once, in an order of their own."""
    classes = len(OUTLINES)
    rows = -(-count // classes)
    order = Draws(subset, 0, _LABELS).raw(rows * classes).reshape(rows, classes).argsort(1, kind="stable")
    labels: list[int] = order.ravel()[:count].tolist()
    return labels
