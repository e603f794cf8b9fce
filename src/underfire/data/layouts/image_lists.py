"""Sets whose publishers give lists of images by split: CUB-200-2011, Oxford-IIIT Pet and Food-101.

All images are in ``images``. Without a choice, the test images are taken.

https://www.vision.caltech.edu/datasets/cub_200_2011, https://www.robots.ox.ac.uk/~vgg/data/pets,
https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from underfire.data.arrays import chosen_split
from underfire.data.dataset import ImageData
from underfire.data.file_data import FileData
from underfire.data.finder import Finder
from underfire.data.layouts.layout import Layout
from underfire.data.options import DataOptions
from underfire.errors import DataError

_Lists = dict[str, list[tuple[str, str]]]
"""For each split, the path of each image in ``images``, with or without its suffix, and the name of its class."""


def _cub(path: Path) -> tuple[_Lists, list[str]]:
    """The images, their classes and their splits have numbers: ``images.txt`` has "1 001.Albatross/a.jpg"."""
    files, classes = (_by_number(path / name) for name in ("images.txt", "classes.txt"))
    found: _Lists = {"train": [], "test": []}
    labels, parts = (_by_number(path / name) for name in ("image_class_labels.txt", "train_test_split.txt"))
    other = sorted({*parts.values()} - {"0", "1"})
    if other:
        raise DataError(f"{path / 'train_test_split.txt'} holds {other[0]!r}; expected 1 for training, 0 for testing.")
    without = sorted(files.keys() - parts.keys())
    if without:
        raise DataError(f"{path / 'train_test_split.txt'} lacks image {without[0]}, {files[without[0]]!r}: a cut file?")
    for number, is_train in parts.items():
        found["train" if is_train == "1" else "test"].append((files[number], classes[labels[number]]))
    return found, [classes[number] for number in sorted(classes, key=int)]


def _pets(path: Path) -> tuple[_Lists, list[str]]:
    """The lines are "Abyssinian_1 1 1 1": a name, and the numbers of the class, the species and the breed."""
    names: dict[int, str] = {}
    found: _Lists = {"trainval": [], "test": []}
    for split, images in found.items():
        for image, numbers in _lines(path / "annotations" / f"{split}.txt"):
            name, number = image.rpartition("_")[0], int(numbers.split()[0])
            if names.setdefault(number, name) != name:
                raise DataError(f"the lists of {path} give number {number} to {names[number]!r} and to {name!r}.")
            images.append((image, name))
    return found, [names[number] for number in sorted(names)]


def _food(path: Path) -> tuple[_Lists, list[str]]:
    """The lines are "apple_pie/1005649": the folder of the class, and a file in it."""
    names = _texts(path / "meta" / "classes.txt")
    lines = {split: _texts(path / "meta" / f"{split}.txt") for split in ("train", "test")}
    return {split: [(line, line.partition("/")[0]) for line in held] for split, held in lines.items()}, names


_KNOWN: Mapping[str, tuple[tuple[str, ...], Callable[[Path], tuple[_Lists, list[str]]]]] = {
    "CUB-200-2011": (("images.txt", "classes.txt", "image_class_labels.txt", "train_test_split.txt"), _cub),
    "Oxford-IIIT Pet": (("annotations/trainval.txt", "annotations/test.txt"), _pets),
    "Food-101": (("meta/classes.txt", "meta/train.txt", "meta/test.txt"), _food),
}
"""The files by which each set is known, and the function that reads the images of each split and the classes."""


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if not path.is_dir():
        for root in (path.parent, path.parent.parent):
            if (name := _name(root)) is not None and path.relative_to(root).as_posix() in _KNOWN[name][0]:
                raise DataError(f"{path} is one of the lists of {name}; give the folder {root}, and --split.")
        return None
    folder, name = path / "images", _name(path)
    if name is None or options.class_level is not None:  # the user may say that folders are the classes
        return None
    marks, read = _KNOWN[name]
    try:
        lists, names = read(path)
        _check_once([*names], f"the classes of {path}")
        _check_once([image for held in lists.values() for image, _ in held], f"the images in the lists of {path}")
        position = {each: label for label, each in enumerate(names)}
        labels = {split: [position[each] for _, each in images] for split, images in lists.items()}
    except DataError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} has the lists of {name} ({', '.join(marks)}), which do not fit: {error!r}.") from error
    split = chosen_split(options.split, list(lists), path)
    if not lists[split]:
        others = ", ".join(f"--split {each}" for each, held in lists.items() if held)
        raise DataError(f"the lists of {path} name no {split} images; expected some. There are: {others or 'none'}.")
    finder, files = Finder(folder), []
    for (image, _), label in zip(lists[split], labels[split], strict=True):
        place = finder.find(image)
        if place is None:
            raise DataError(f"the lists of {path} name {image!r}, which is not inside {folder}.")
        files.append((os.path.relpath(place, finder.folder).replace(os.sep, "/"), label))
    data = FileData(f"{path.resolve().name}-{split}", folder, files, names)
    data.layout = f"{name}, {split} images"
    return data


def _name(path: Path) -> str | None:
    """Return the name of the set in a folder; None if there is none of these."""
    fits = (name for name, (marks, _) in _KNOWN.items() if all((path / mark).is_file() for mark in marks))
    return next(fits, None) if (path / "images").is_dir() else None


def _check_once(texts: list[str], what: str) -> None:
    """Raise DataError if a text is there twice: images would get another class, or count twice."""
    twice = next((text for text, count in Counter(texts).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{what} hold {twice!r} more than once; expected each once.")


def _texts(path: Path) -> list[str]:
    return [text for _, text in _numbered(path)]


def _numbered(path: Path) -> list[tuple[int, str]]:
    """Return the number of each line, from 1, and its text, without comments and blank lines."""
    lines = enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if line.strip() and line[0] != "#"]


def _lines(path: Path) -> list[tuple[str, str]]:
    """Split each line at its first blank. Raises ValueError if it has none."""
    return [(first, rest.strip()) for first, rest in (line.split(maxsplit=1) for line in _texts(path))]


def _by_number(path: Path) -> dict[str, str]:
    """Read lines of a number and a text. Raises DataError if a number is there twice."""
    found: dict[str, tuple[int, str]] = {}
    for (line, _), (number, text) in zip(_numbered(path), _lines(path), strict=True):
        first, earlier = found.setdefault(number, (line, text))
        if first != line:
            raise DataError(
                f"{path}, line {line}: {number} has {text!r} here, and {earlier!r} in line {first}; expected it once."
            )
    return {number: text for number, (_, text) in found.items()}


LAYOUT = Layout("lists of images by split", _open, ("split", "white"))
