"""A data set that needs no download: drawn objects on drawn surfaces, with each object's true mask."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from underfire.arguments import check_at_least, check_known
from underfire.data.dataset import ImageData, Record
from underfire.data.scenes.outlines import OUTLINES
from underfire.data.scenes.paint import background, paint
from underfire.data.scenes.place import place
from underfire.data.scenes.random import TURN, Draws, Field
from underfire.data.scenes.raster import FULL, coverage

GENERATOR = 1
"""The version of the pictures. It goes up when the same number gives another picture."""

COUNTS = {"test": 1_000, "train": 10_000}
_SUBSETS = {"test": 1, "train": 2}
_LABELS, _OBJECT, _PAINT = range(3)
# Largest turn to either side, in 1/1024 of a turn: upright things lean a little, all other things lie at any angle.
_LEAN = {"house": 90, "mug": 90, "umbrella": 140}


class Scenes(ImageData):
    """64 x 64 colour pictures of ten kinds of object on natural-looking surfaces.

    The classes differ by the object's shape alone: size, turn, place, colour, pattern, surface, light and the small
    patches beside the object are independent of the class. Every ten pictures hold each class once. A picture is drawn
    when it is read. It depends on its subset and its number only, and is the same on every machine.

    Args:
        subset: "train" or "test"; no picture is in both.
        count: the number of pictures, the first ones of the subset; if None, 10,000 for training and 1,000 for testing.

    Raises:
        InputError: unknown subset, or a count below 1.
    """

    class_names = tuple(OUTLINES)

    def __init__(self, subset: str = "test", *, count: int | None = None) -> None:
        check_known("subset of scenes", subset, _SUBSETS)
        count = COUNTS[subset] if count is None else count
        check_at_least("count", count, 1, f" picture, or None for {COUNTS[subset]:,}")
        self.name = f"scenes-{subset}"
        self._subset = _SUBSETS[subset]
        self._labels = _shuffled_labels(self._subset, count)

    def __len__(self) -> int:
        return len(self._labels)

    def record(self, index: int) -> Record:
        image_id = f"{self.name}/{self._checked(index):05d}"
        return Record(image_id, image_id, self._labels[index])

    def read(self, index: int) -> Image.Image:
        """Draw the picture: 64 x 64, mode RGB."""
        covered = self._coverage(index)
        draws = Draws(self._subset, index, _PAINT)
        return Image.fromarray(np.ascontiguousarray(paint(draws, background(draws), covered)))

    def mask(self, index: int) -> Tensor:
        """Return the object's true mask: bool 64 x 64, True if the object covers at least half of the pixel.

        The object's shadow is not part of it.
        """
        return torch.from_numpy(self._coverage(index) * 2 >= FULL)

    def fingerprint(self) -> str:
        """Return a SHA-256 over the version, the subset, the labels, and the pixels of up to eight pictures."""
        digest = hashlib.sha256(repr(("scenes", GENERATOR, self.name, self._labels)).encode())
        for index in sorted({len(self) * step // 8 for step in range(8)}):
            digest.update(self.read(index).tobytes())
        return digest.hexdigest()

    def _coverage(self, index: int) -> Field:
        """Compute the part of each pixel that the object covers, 0 .. 256."""
        name = self.class_names[self._labels[self._checked(index)]]
        draws = Draws(self._subset, index, _OBJECT)
        return coverage(place(draws, OUTLINES[name](draws), _LEAN.get(name, TURN // 2)))


def _shuffled_labels(subset: int, count: int) -> list[int]:
    """Draw the labels of the first ``count`` pictures: every ten hold each class once, in random order."""
    classes = len(OUTLINES)
    rows = -(-count // classes)
    order = Draws(subset, 0, _LABELS).raw(rows * classes).reshape(rows, classes).argsort(1, kind="stable")
    labels: list[int] = order.ravel()[:count].tolist()
    return labels
