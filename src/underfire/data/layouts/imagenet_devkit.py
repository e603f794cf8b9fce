"""ImageNet's validation images with the list of the development kit: one number per line, and ``meta.mat``.

The numbers are not the order of classes that networks have: ``meta.mat`` gives the WordNet id of each number, and
networks have the classes in the order of the sorted WordNet ids. https://image-net.org/challenges/LSVRC/2012.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from underfire.data.dataset import ImageData
from underfire.data.file_data import FileData
from underfire.data.finder import Finder
from underfire.data.layouts.layout import Layout
from underfire.data.options import DataOptions
from underfire.data.places import subfolders
from underfire.errors import DataError

_LIST, _CLASSES = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_IMAGE = "ILSVRC2012_val_{:08d}"


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if not path.is_dir():
        if path.name == _LIST:
            raise DataError(f"{path} names no images; give a folder that holds it and the images ({_IMAGE.format(1)}).")
        return None
    kits = [path, *(path / name for name in subfolders(path))]
    kit = next((place for folder in kits for place in (folder, folder / "data") if (place / _LIST).is_file()), None)
    if kit is None:
        return None
    try:
        numbers = [int(line) for line in (kit / _LIST).read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise DataError(f"{kit / _LIST} cannot be read: {error}; expected a class number on each line.") from error
    ids = _wordnet_ids(kit / _CLASSES)
    unknown = sorted({*numbers} - {*ids})
    if unknown:
        raise DataError(f"{kit / _LIST} has the number {unknown[0]}, for which {kit / _CLASSES} has no class.")
    names = sorted(ids.values())
    position = {name: label for label, name in enumerate(names)}
    finder, files = Finder(path), []
    for place, number in enumerate(numbers, 1):
        found = finder.find(_IMAGE.format(place))
        if found is not None and found.suffix:
            files.append((found.relative_to(finder.folder).as_posix(), position[ids[number]]))
    if not files:
        raise DataError(f"{path} has the list {_LIST}, but no image {_IMAGE.format(1)}.JPEG in it or below it.")
    return FileData(path.resolve().name, path, files, names)


def _wordnet_ids(path: Path) -> dict[int, str]:
    """Return the WordNet id of the number of each class, and not of the groups of classes."""
    from scipy.io import loadmat

    if not path.is_file():
        raise DataError(
            f"{path} does not exist. The list of the development kit has numbers of its own, and this file says which "
            "classes they are; put it beside the list."
        )
    try:
        entries: Any = loadmat(str(path), squeeze_me=True)["synsets"].reshape(-1)
        pairs = [(int(e["ILSVRC2012_ID"]), str(e["WNID"])) for e in entries if int(e["num_children"]) == 0]
    # scipy raises these for a file that is no MATLAB file, is cut off, has a newer format, or holds other variables.
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as the development kit's list of classes: {error}") from error
    found: dict[int, str] = {}
    numbers: dict[str, int] = {}
    for number, name in pairs:
        if (other := found.setdefault(number, name)) != name:
            raise DataError(f"{path} gives the number {number} to {other} and to {name}; expected one class.")
        if (first := numbers.setdefault(name, number)) != number:
            raise DataError(f"{path} gives {name} the numbers {first} and {number}; expected one.")
    return found


LAYOUT = Layout("ImageNet's validation images with the development kit", _open, ("white",))
