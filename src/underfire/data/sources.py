"""Opening of data sets by name or path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from underfire.data.builtin import Digits
from underfire.data.dataset import ImageData
from underfire.data.decode import IMAGE_SUFFIXES
from underfire.data.folder import CsvData, FolderData, class_folders
from underfire.data.labels_csv import is_labels_csv
from underfire.data.parquet import ParquetData
from underfire.data.photographs import Photographs
from underfire.data.scenes import Scenes
from underfire.errors import DataError, InputError, similar_names, unknown_name

_BUILTIN: dict[str, Callable[[], ImageData]] = {
    "digits": Digits,
    "digits:test": lambda: Digits("test"),
    "digits:train": lambda: Digits("train"),
    "photos": Photographs,
    "scenes": lambda: Scenes("test"),
    "scenes:test": lambda: Scenes("test"),
    "scenes:train": lambda: Scenes("train"),
}

_ACCEPTED = (
    "a folder with one subfolder of images per class, a folder with one CSV file of images and labels, a .csv file, or "
    "a .parquet file"
)


def open_data(spec: str | Path) -> ImageData:
    """Open a data set.

    Args:
        spec: the name of a built-in set: ``digits``, ``digits:test``, ``digits:train`` (see ``Digits``),
            ``scenes:test``, in short ``scenes``, or ``scenes:train`` (see ``Scenes``), ``photos`` (see
            ``Photographs``). Or the path of a folder with one
            subfolder per class, of a folder with one CSV file of labels (it has precedence over subfolders), of a
            ``.csv`` file, or of a ``.parquet`` file. ``~`` is the home folder; ``./digits`` is a folder called digits.

    Raises:
        InputError: neither a path nor a known name; the message suggests the nearest name.
        DataError: the path does not exist, or holds no images in any of these layouts.
    """
    if isinstance(spec, str) and spec in _BUILTIN:
        return _BUILTIN[spec]()
    if not str(spec).strip():
        raise InputError(f"the name of the data set is empty; expected {', '.join(_BUILTIN)}, or {_ACCEPTED}.")
    path = Path(os.path.expanduser(spec))
    # Unlike the methods of Path, os.path gives False for names that no file can have.
    if os.path.isdir(path):
        return _open_folder(path)
    if not os.path.exists(path):
        raise _missing(spec, path)
    if path.suffix.lower() == ".csv":
        return CsvData(path)
    if path.suffix.lower() == ".parquet":
        return ParquetData(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise DataError(
            f"{path} is one image, and its class is not known: put it into root/class/ and give root, or look at its "
            f"explanation without a class: underfire explain --data {path}. Expected {_ACCEPTED}."
        )
    raise DataError(f"{path} is a file of an unknown kind; expected {_ACCEPTED}.")


def _open_folder(path: Path) -> ImageData:
    folders = class_folders(path)
    files = sorted(item.name for item in path.iterdir() if item.is_file() and not item.name.startswith("."))
    tables = [name for name in files if name.lower().endswith(".csv")]
    # Chosen by their headers: a folder of classes often has CSV files of other things too, such as class names.
    with_labels = [name for name in tables if is_labels_csv(path / name)]
    if len(with_labels) > 1:
        raise DataError(f"{path} holds several CSV files of labels: {', '.join(with_labels)}; give the path of one.")
    if with_labels:
        return CsvData(path / with_labels[0])
    if folders:
        return FolderData(path)
    if len(tables) == 1:
        return CsvData(path / tables[0])  # raises an error that names the missing column
    raise DataError(f"{path} {_contents(files)}; expected {_ACCEPTED}.")


def _contents(files: list[str]) -> str:
    parquet = [name for name in files if name.lower().endswith(".parquet")]
    if parquet:
        return f"is a folder of parquet files; give the path of one: {', '.join(parquet)}"
    images = sum(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files)
    if images:
        return f"holds {images} images, but their classes are not known"
    return "holds no usable data" if files else "is an empty folder"


def _missing(spec: str | Path, path: Path) -> InputError | DataError:
    parent = next(folder for folder in path.absolute().parents if os.path.isdir(folder))
    part = path.absolute().relative_to(parent).parts[0]
    beside = difflib.get_close_matches(part, os.listdir(parent) if os.access(parent, os.R_OK) else [], n=1)
    is_name = isinstance(spec, str) and path.name == spec and not path.suffix
    if is_name and (similar_names(str(spec), _BUILTIN) or not beside):
        return InputError(f"{unknown_name('data set', str(spec), _BUILTIN)} Or the path of {_ACCEPTED}.")
    suggestion = f" Did you mean {str(parent / beside[0])!r}?" if beside else ""
    return DataError(
        f"{spec} does not exist; the nearest folder that does is {parent}.{suggestion} Expected "
        f"{', '.join(_BUILTIN)}, or the path of {_ACCEPTED}."
    )
