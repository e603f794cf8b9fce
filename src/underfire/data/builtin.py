"""A built-in data set: scikit-learn's handwritten digits, which need no download."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from underfire.arguments import check_known
from underfire.data.dataset import ImageData, Record
from underfire.errors import InputError

SUBSETS = ("all", "test", "train")


class Digits(ImageData):
    """The 1797 grey images of scikit-learn's digits: 8 x 8 pixels, classes 0 to 9.

    The 17 levels 0..16 become 8-bit levels: ``level * 255 / 16``, rounded. The number in an id (``digits/00012``) is
    the image's number in the whole set, also in a subset.

    Args:
        subset: "all"; "test" for every fifth image (``number % 5 == 4``: 359 images); or "train" for the rest (1438).
        indices: the numbers of the images in the whole set, in the wanted order and without repeats; only with "all".

    Raises:
        InputError: unknown subset; indices that are out of range or repeated, or indices together with a subset.
    """

    class_names = tuple("0123456789")

    def __init__(self, subset: str = "all", *, indices: Iterable[int] | None = None) -> None:
        check_known("subset of digits", subset, SUBSETS)
        values, labels = _read_digits()
        levels = np.rint(values * (255 / 16)).astype(np.uint8)
        if indices is None:
            numbers = [n for n in range(len(levels)) if subset == "all" or (n % 5 == 4) == (subset == "test")]
        elif subset == "all":
            numbers = _checked_indices(indices, len(levels))
        else:
            raise InputError(f"both indices and subset {subset!r} are given; expected only one of them.")
        self.name = "digits" if subset == "all" else f"digits-{subset}"
        self._numbers = numbers
        self._pixels = levels[numbers]
        self._labels = [int(labels[number]) for number in numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def record(self, index: int) -> Record:
        image_id = f"digits/{self._numbers[self._checked(index)]:05d}"
        return Record(image_id, image_id, self._labels[index])

    def read(self, index: int) -> Image.Image:
        """Return the image: 8 x 8, mode L."""
        return Image.fromarray(self._pixels[self._checked(index)])

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr((self._numbers, self._labels)).encode())
        digest.update(self._pixels.tobytes())
        return digest.hexdigest()


def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Read the levels (1797 x 8 x 8, 0 to 16) and the labels of all digits from scikit-learn's file.

    The file is found without importing the package, which takes longer than all else at the start of a small run.
    """
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise InputError("the digits are those of scikit-learn, which is not installed: pip install scikit-learn.")
    rows = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)


def _checked_indices(indices: Iterable[int], count: int) -> list[int]:
    numbers = [operator.index(index) for index in indices]
    for number in numbers:
        if not 0 <= number < count:
            raise InputError(f"indices hold {number}; expected 0 to {count - 1}, because there are {count} digits.")
    if len(set(numbers)) < len(numbers):
        repeated = next(number for number in numbers if numbers.count(number) > 1)
        raise InputError(f"indices hold {repeated} more than once; expected every image once at most.")
    return numbers
