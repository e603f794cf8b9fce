"""The description of a layout of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from underfire.data.dataset import ImageData
from underfire.data.options import DataOptions
from underfire.data.places import subfolders
from underfire.errors import DataError


@dataclass(frozen=True)
class Layout:
    """A layout that is recognised by its files.

    Args:
        name: its name, for messages.
        open: opens a path, which is a folder or a file; returns None if the path has another layout. Raises DataError
            if it has this layout, but cannot be used.
        options: the names of the ``DataOptions`` that it follows.
    """

    name: str
    open: Callable[[Path, DataOptions], ImageData | None]
    options: tuple[str, ...] = ()


_TORCHVISION = (
    "raw",
    "MNIST/raw",
    "FashionMNIST/raw",
    "KMNIST/raw",
    "QMNIST/raw",
    "cifar-10-batches-py",
    "cifar-10-batches-bin",
    "cifar-100-python",
    "cifar-100-binary",
)
"""Where torchvision puts original files below the folder that it is given."""

_ITS_FOLDERS = {"processed", *(name.split("/")[0] for name in _TORCHVISION)}


def found_below(path: Path, fits: Callable[[Path], bool]) -> Path | None:
    """Return the folder that fits: ``path``, or else the one folder below it in which torchvision keeps its files.

    Raises:
        DataError: torchvision keeps the files of several data sets there.
    """
    if not path.is_dir() or fits(path):
        return path if path.is_dir() else None
    if not _ITS_FOLDERS.issuperset(subfolders(path)):
        return None
    places = [place for name in _TORCHVISION if (place := path / name).is_dir()]
    found = [place for place in places if fits(place)]
    if found and len(places) > 1:
        raise DataError(
            f"{path} holds several data sets: {', '.join(map(str, places))}; expected one. Give the path of one."
        )
    return found[0] if found else None
