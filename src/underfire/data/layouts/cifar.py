"""CIFAR-10's and CIFAR-100's original files: the binary version, or the version for Python.

Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from underfire.data.arrays import array_data, chosen_split
from underfire.data.dataset import ImageData
from underfire.data.layouts.layout import Layout, found_below
from underfire.data.options import DataOptions
from underfire.data.places import files_in
from underfire.data.plain_pickles import read_pickle
from underfire.errors import DataError

_PIXELS = 3 * 32 * 32
_TRAINING = re.compile(r"data_batch_\d(\.bin)?|train(\.bin)?")
_TESTING = re.compile(r"test_batch(\.bin)?|test(\.bin)?")
_NAMES = ("batches.meta", "batches.meta.txt", "meta", "fine_label_names.txt")


def _open(path: Path, options: DataOptions) -> ImageData | None:
    folder = found_below(path, lambda place: bool(_splits(place)))
    if folder is None:
        return None
    found = _splits(folder)
    split = chosen_split(options.split, list(found), folder)
    parts = [_read(folder / name) for name in found[split]]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    names = _class_names(folder / next(name for name in _NAMES if (folder / name).is_file()))
    return array_data(
        folder,
        images,
        labels,
        name=f"{folder.resolve().name}-{split}",
        layout=f"CIFAR-{len(names)}'s original files, {split} images",
        class_names=names,
    )


def _splits(folder: Path) -> dict[str, list[str]]:
    """Return the files of each split; nothing if none of the files names the classes."""
    files = files_in(folder)
    found = {"train": [name for name in files if _TRAINING.fullmatch(name)]}
    found["test"] = [name for name in files if _TESTING.fullmatch(name)]
    return {split: names for split, names in found.items() if names} if not {*_NAMES}.isdisjoint(files) else {}


def _read(path: Path) -> tuple[Any, Any]:
    """Return the images, uint8 N x 32 x 32 x 3, and the labels of a file. For CIFAR-100, these are the fine ones."""
    pixels: Any
    numbers: Any
    if path.suffix == ".bin":
        content = np.frombuffer(path.read_bytes(), np.uint8)
        labels = 2 if path.stem in ("train", "test") else 1  # CIFAR-100 has the coarse label first
        if not len(content) or len(content) % (_PIXELS + labels):
            raise DataError(f"{path} has {len(content)} bytes; expected a multiple of {_PIXELS + labels}.")
        rows = content.reshape(-1, _PIXELS + labels)
        pixels, numbers = rows[:, labels:], rows[:, labels - 1]
    else:
        held = read_pickle(path)
        pixels, numbers = held.get("data"), np.asarray(held.get("fine_labels", held.get("labels")))
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
            raise DataError(f"{path} has no array 'data' with rows of {_PIXELS} pixels.")
        if numbers.shape != (len(pixels),):
            raise DataError(f"{path} has {len(pixels)} images, and not as many labels in 'fine_labels' or 'labels'.")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), numbers


def _class_names(path: Path) -> tuple[str, ...]:
    if path.suffix == ".txt":
        return tuple(path.read_text(encoding="utf-8").split())
    held = read_pickle(path)
    names = held.get("fine_label_names", held.get("label_names", ()))
    if not isinstance(names, list | tuple):
        raise DataError(f"{path}: its label names are {names!r:.60}; expected a list of texts.")
    return tuple(map(str, names))


LAYOUT = Layout("CIFAR's original files", _open, ("split",))
