"""Opening of data sets by name or path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path

from underfire.data.builtin import Digits
from underfire.data.csv_data import CsvData
from underfire.data.dataset import ImageData
from underfire.data.decode import IMAGE_SUFFIXES
from underfire.data.folder import FolderData
from underfire.data.layouts.imagefolder import METADATA
from underfire.data.layouts.known import open_path
from underfire.data.options import DataOptions
from underfire.data.photographs import Photographs
from underfire.data.places import files_below, files_in, is_special
from underfire.data.scenes import Scenes
from underfire.data.unlabelled import UnlabelledData, has_table, images_in, is_image
from underfire.errors import DataError, InputError, similar_names, unknown_name, warn
from underfire.text import counted

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
    "a folder with one subfolder of images per class, a folder with one CSV file of images and labels, a .csv file, a "
    ".parquet file, or another of the layouts that the documentation lists"
)


def open_data(
    spec: str | Path,
    *,
    file_column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    class_level: int | None = None,
    white: float | None = None,
    unlabelled: bool = False,
) -> ImageData:
    """Open a data set. The layout of a folder or file is recognised by itself; see ``layouts``.

    Args:
        spec: the name of a built-in set: ``digits``, ``digits:test``, ``digits:train`` (see ``Digits``),
            ``scenes:test``, in short ``scenes``, or ``scenes:train`` (see ``Scenes``), ``photos``
            (see ``Photographs``). Or the path of a folder with one
            subfolder per class, of a folder with one table of labels (it has precedence over subfolders), of a table
            (``.csv``, ``.tsv``, or a list of files ``.txt``), of a ``.parquet`` file, or of data in another layout of
            the list in ``layouts.known``. ``~`` is the home folder; ``./digits`` is a folder called digits.
        file_column, label_column: the columns of a table, if they do not have one of the usual names.
        split: the part of the data to take, such as ``val``, if it has several.
        class_level: the number of folders from the root to the folder that names the class, if it is not certain.
        white: the value of white in images with more than 8 bits, such as 4095.
        unlabelled: ``spec`` may also be an image file, or a folder that holds images and no labels in any of these
            layouts, or more images itself than its subfolders; see ``UnlabelledData``.

    Raises:
        InputError: neither a path nor a known name (the message suggests the nearest name), or an option that has no
            meaning for these data.
        DataError: the path does not exist, or holds no images in any of these layouts.
    """
    options = DataOptions(file_column, label_column, split, class_level, white)
    if isinstance(spec, str) and spec in _BUILTIN:
        if options.given():
            raise InputError(f"{options.given()[0]} is given, but {spec} is a built-in data set; leave it out.")
        return _BUILTIN[spec]()
    if not str(spec).strip():
        raise InputError(f"the name of the data set is empty; expected {', '.join(_BUILTIN)}, or {_ACCEPTED}.")
    path = Path(os.path.expanduser(spec))
    # Unlike the methods of Path, os.path gives False for names that no file can have.
    if not os.path.exists(path):
        raise _missing(spec, path)
    if is_special(path):
        raise DataError(f"{path} is a pipe, a device or a socket; expected {_ACCEPTED}.")
    data = open_path(path, options)
    if data is not None:
        beside = images_in(path) if isinstance(data, FolderData) and not options.split else 0
        if unlabelled and beside > len(data) and not options.class_level:
            return _unlabelled(path, options)
        if beside:
            warn(f"{counted(beside, 'image')} directly in {path} left out: images of classes lie in its subfolders.")
        return data
    if unlabelled and images_in(path):
        return _unlabelled(path, options)
    if os.path.isdir(path):
        raise _unusable(path, options)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise DataError(
            f"{path} is one image, and its class is not known: put it into root/class/ and give root, or look at its "
            f"explanation without a class: underfire explain --data {path}. To attack, check or audit "
            f"it without knowing its class, give --labels predicted there. Expected {_ACCEPTED}."
        )
    raise DataError(f"{path} is a file of an unknown kind; expected {_ACCEPTED}.")


def open_images(
    spec: str | Path,
    *,
    file_column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    class_level: int | None = None,
    white: float | None = None,
) -> ImageData:
    """Open images whose labels, if they have any, do not count. Arguments and errors as in ``open_data``.

    In contrast to it, a folder that holds images itself gives all of them, and those of its subfolders; so does one
    whose classes cannot be told, such as a folder for each day. A folder with a table is read by its table.
    """
    options = DataOptions(file_column, label_column, split, class_level, white)
    path = Path(os.path.expanduser(spec))
    free = bool(str(spec).strip()) and spec not in _BUILTIN and set(options.given()) <= {"white"}
    free = free and os.path.isdir(path) and not has_table(path)
    if free and images_in(path):
        return _unlabelled(path, options)
    try:
        return open_data(
            spec,
            file_column=file_column,
            label_column=label_column,
            split=split,
            class_level=class_level,
            white=white,
            unlabelled=True,
        )
    except DataError:
        if not free or not any(is_image(each) for each in files_below(path)):
            raise
    return _unlabelled(path, options)


def _unusable(path: Path, options: DataOptions) -> DataError:
    """Describe what is missing in a folder that has no known layout."""
    files = files_in(path)
    tables = [name for name in files if name.lower().endswith(".csv") or name in METADATA]
    if len(tables) == 1:
        CsvData(path / tables[0], options)  # raises an error that names the missing column
    return DataError(f"{path} {_contents(files)}; expected {_ACCEPTED}.")


def _unlabelled(path: Path, options: DataOptions) -> UnlabelledData:
    useless = [name for name in options.given() if name != "white"]
    if useless:
        raise InputError(f"{useless[0]} is given, but {path} is {UnlabelledData.layout}, where it means nothing.")
    data = UnlabelledData(path)
    data.white = options.white
    return data


def _contents(files: list[str]) -> str:
    parquet = [name for name in files if name.lower().endswith(".parquet")]
    if parquet:
        return f"is a folder of parquet files; give the path of one: {', '.join(parquet)}"
    images = sum(Path(name).suffix.lower() in IMAGE_SUFFIXES for name in files)
    if images:
        return (
            f"holds {counted(images, 'image')}, but their classes are not known (attack, check and audit take "
            "those that the classifier gives, with --labels predicted)"
        )
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
        f"data is {str(spec)!r}, which does not exist; the nearest folder that does is {parent}.{suggestion} Expected "
        f"{', '.join(_BUILTIN)}, or the path of {_ACCEPTED}."
    )
