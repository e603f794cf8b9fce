"""The columns of a table that hold image files and classes, found by their usual names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from underfire.data.imagenet import is_wordnet_id
from underfire.data.tables import TABLE_SUFFIXES, Table, has_image_suffix, squeeze
from underfire.errors import DataError, InputError, unknown_name

FILE_COLUMNS = (
    "file",
    "filename",
    "path",
    "image",
    "image_id",
    "file_path",
    "image_path",
    "image_name",
    "image_file",
    "img",
    "img_path",
    "img_name",
    "img_filename",
    "image_filename",
    "image_index",
    "id",
    "id_code",
    "img_id",
)
LABEL_COLUMNS = (
    "label",
    "class",
    "target",
    "labels",
    "category",
    "class_name",
    "label_name",
    "class_id",
    "category_id",
    "dx",
    "diagnosis",
    "diagnostic",
    "finding_labels",
    "breed",
)
NO_CLASSES = ("score_weight", "validation_weight")
"""Columns of numbers beside those of the classes, in ISIC's ground truth of test images."""
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold")


@dataclass(frozen=True)
class Columns:
    """Places of columns in a table.

    Args:
        file: the column with the names of image files.
        label: the column with the classes; None if there is a column per class.
        one_hot: the columns of the classes, each with a 1 for the images of the class; empty if ``label`` is given.
        split: the column that tells training and test images apart, if there is one.
    """

    file: int
    label: int | None = None
    one_hot: tuple[int, ...] = ()
    split: int | None = None


def usual_columns(table: Table, file: str | None = None, label: str | None = None) -> Columns:
    """Find the columns of a table by their usual names, or by the names that the user gives.

    Args:
        table: a table with a header, or a list of files without one.
        file, label: the user's names of the columns.

    Raises:
        DataError: the table has no such columns, or several.
        InputError: the user names a column that the table does not have.
    """
    if not table.header:
        return _without_header(table, file or label)
    split = next((place for name in SPLIT_COLUMNS if (place := _place(table, name)) is not None), None)
    file_column = _column(table, "file", file, FILE_COLUMNS)
    if file_column is None:
        is_text = table.path.suffix.lower() in ("", *TABLE_SUFFIXES)
        marks = (
            " Are the columns separated by commas, semicolons or tabs?" if len(table.header) == 1 and is_text else ""
        )
        raise DataError(f"{_missing(table, 'file', FILE_COLUMNS)}{marks}")
    label_column = _column(table, "label", label, LABEL_COLUMNS)
    if label_column is not None:
        return Columns(file_column, label_column, split=split)
    one_hot = one_hot_columns(table, file_column)
    if not one_hot:
        raise DataError(_missing(table, "label", LABEL_COLUMNS))
    return Columns(file_column, one_hot=one_hot, split=split)


def names_images(table: Table) -> bool:
    """Return True if the cells of the first row have an image in a column, by its name or by their suffix."""
    named = _column(table, "file", None, FILE_COLUMNS) is not None
    return bool(table.rows) and (named or any(map(has_image_suffix, table.rows[0][1])))


def one_hot_columns(table: Table, file: int) -> tuple[int, ...]:
    """Return all columns beside ``file`` if they hold 0 and 1 only, as one column per class does; else nothing."""
    others = [place for place in range(len(table.header)) if place != file and squeeze(table.header[place])]
    others = [place for place in others if not squeeze(table.header[place]).startswith("unnamed")]
    others = [place for place in others if table.header[place] not in NO_CLASSES]
    first = [cells for _, cells in table.rows[:100]]
    if len(others) < 2 or not first or any(_bit(cells[place]) is None for cells in first for place in others):
        return ()
    return tuple(others)


def _bit(text: str) -> bool | None:
    """Read 0, 1, 0.0 or 1.0; None for all other texts."""
    return {"0": False, "0.0": False, "1": True, "1.0": True}.get(text)


def _column(table: Table, what: str, asked: str | None, known: Sequence[str]) -> int | None:
    """Find a column by the user's name for it, or by the first known name that the table has."""
    if asked is not None:
        place = _place(table, asked)
        if place is None:
            raise InputError(f"{what}_column: {unknown_name(f'column of {table.path}', asked, table.header)}")
        return place
    return next((place for name in known if (place := _place(table, name)) is not None), None)


def _place(table: Table, name: str) -> int | None:
    present = table.squeezed()
    if name in table.header and table.header.count(name) == 1:
        return table.header.index(name)
    if present.count(squeeze(name)) > 1:
        count = present.count(squeeze(name))
        raise DataError(f"{table.path}, line 1: {count} columns are called {name!r}; expected one.")
    return present.index(squeeze(name)) if squeeze(name) in present else None


def _missing(table: Table, what: str, known: Sequence[str]) -> str:
    return (
        f"{table.path}, line 1: no {what} column; expected one of {', '.join(known)}, found {list(table.header)}. "
        f"Another column: --{what}-column NAME."
    )


def _without_header(table: Table, asked: str | None) -> Columns:
    """Take the column of file names and the other one, of a list without a header."""
    if asked is not None:
        raise InputError(f"column {asked!r} is asked for, but {table.path} has no header with names of columns.")
    if not table.rows:
        raise DataError(f"{table.path}, line 1: no file column; expected one of {', '.join(FILE_COLUMNS)}, found [].")
    line, cells = table.rows[0]
    if len(cells) > 2 and has_image_suffix(cells[0]) and is_wordnet_id(cells[1]):  # boxes follow, in Tiny ImageNet
        return Columns(0, 1)
    if len(cells) != 2:
        raise DataError(
            f"{table.path}, line {line}: {len(cells)} fields and no header; expected an image file and its label, or a "
            "header with the names of the columns."
        )
    file = 0 if has_image_suffix(cells[0]) else 1
    numbers = [cells[0] for _, cells in table.rows]
    counted = [[str(number + first) for number in range(len(numbers))] for first in (0, 1)]
    if file == 1 and len(numbers) > 1 and numbers in counted:
        raise DataError(
            f"{table.path} has the numbers {', '.join(numbers[:3])}, ... in front of the images: they count its lines "
            "and are no classes; expected an image file and its label in each line."
        )
    return Columns(file, 1 - file)
