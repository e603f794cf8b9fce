"""Images and labels from a table: a CSV file, or a list of files."""

from __future__ import annotations

import os
from pathlib import Path

from underfire.data.class_texts import labels_of, one_hot_labels
from underfire.data.columns import Columns
from underfire.data.file_data import FileData
from underfire.data.finder import Finder, folder_beside
from underfire.data.layouts.tables import columns_of
from underfire.data.options import DataOptions
from underfire.data.splits import named_split, split_in
from underfire.data.table_files import open_table
from underfire.data.tables import Table, squeeze
from underfire.errors import DataError, warn
from underfire.files import path_of

NO_OPTIONS = DataOptions()


FINDINGS = "findinglabels"
"""The column of ChestX-ray14's classes, in small letters without signs: a row with | has several."""


class CsvData(FileData):
    """Images and labels from a table: a CSV file with a header, lines of JSON, or a list of files without a header.

    Args:
        path: the table: UTF-8 text, separated by commas, semicolons or tabs (in ``.txt`` files also by blanks), lines
            of JSON, or Parquet. Its columns are found by their usual names; see ``columns``. Image files are named
            relative to the table's folder, with or without their suffix, and found below that folder (see ``Finder``).
            If it has no images, they are looked for in the folder above, and in those beside it. Classes are integers
            from 0, which are the labels, or names, which are numbered in sorted order, or one column per class with a
            1 for the class. Rows with several classes, such as ``Edema|Mass``, are left out. Other columns and blank
            lines are ignored. Image files are opened when they are read.
        options: the columns to take, if their names are others, and the split of a table with a column ``split``.
        folder: the folder of the images, if it is not the table's.

    Raises:
        DataError: the table is missing, empty or malformed, or names a file twice or outside of its folder. The
            message gives the line.
        InputError: the options name a column or a split that the table does not have.
    """

    def __init__(self, path: str | Path, options: DataOptions = NO_OPTIONS, folder: str | Path | None = None) -> None:
        self.path = path_of("path", path)
        table = open_table(self.path)
        self.layout, columns = columns_of(table, options)
        if not table.rows:
            raise DataError(f"{self.path} holds a header but no rows.")
        alone = set() if columns.label is None else {cells[columns.label].strip() for _, cells in table.rows}
        if options.split is not None:
            table = _of_split(table, options.split, columns)
        if columns.label is not None:
            table = _of_one_class(table, columns.label, alone)
        labels, names = _labels(table, columns)
        folder = _folder_of(table, columns.file) if folder is None else path_of("folder", folder)
        files = _files(table, columns.file, folder)
        root, ids = _root_and_ids(folder, files)
        super().__init__(self.path.stem, root, list(zip(ids, labels, strict=True)), names)


def _of_split(table: Table, asked: str, columns: Columns) -> Table:
    """Return the rows of one split."""
    column = columns.split
    values = [] if column is None else sorted({cells[column] for _, cells in table.rows})
    name = named_split(asked, values, str(table.path))
    return Table(table.path, table.header, [row for row in table.rows if column is None or row[1][column] == name])


def _of_one_class(table: Table, column: int, alone: set[str]) -> Table:
    """Leave out rows of several classes, as ``Edema|Mass`` in ``FINDINGS``, or where a row has one of them alone.

    Args:
        column: the column of the classes.
        alone: all labels of the whole table, without blanks around them.

    Raises:
        DataError: no row is left.
    """
    findings = bool(table.header) and squeeze(table.header[column]) == FINDINGS

    def is_one(label: str) -> bool:
        parts = [part.strip() for part in label.split("|")]
        return len(parts) == 1 or not (findings or alone & {*parts})

    kept = [row for row in table.rows if is_one(row[1][column])]
    if not kept:
        raise DataError(
            f"{table.path} holds no image of one class: all of the {len(table.rows)} that are asked for have several, "
            "separated by |."
        )
    if len(kept) < len(table.rows):
        warn(
            f"{len(table.rows) - len(kept)} of the {len(table.rows)} images of {table.path} are left out: each has "
            "several classes, separated by |."
        )
    return Table(table.path, table.header, kept)


def _folder_of(table: Table, column: int) -> Path:
    """Return the folder that the names of images are relative to: the table's, or one beside it if it has no images."""
    folder = table.path.parent
    first = [cells[column] for _, cells in table.rows[:100]]
    beside = folder_beside(folder, first, split_in(table.path.stem) or split_in(folder.name))
    if beside is not None:
        warn(f"the images of {table.path} are taken from {beside}, because there are none beside the table.")
    return beside or folder


def _labels(table: Table, columns: Columns) -> tuple[list[int], tuple[str, ...]]:
    if columns.label is not None:
        place = columns.label
        return labels_of(table.path, [(line, cells[place]) for line, cells in table.rows])
    names = tuple(table.header[place] for place in columns.one_hot)
    rows = [(line, [cells[place] for place in columns.one_hot]) for line, cells in table.rows]
    return one_hot_labels(table.path, rows, names), names


def _files(table: Table, column: int, folder: Path) -> list[Path]:
    """Find the image file of each row. Warns of files that are not where the table says, or not in ``folder``."""
    finder, found = Finder(folder), dict[Path, int]()
    for line, cells in table.rows:
        if not cells[column]:
            raise DataError(f"{table.path}, line {line}: the file name is empty.")
        try:
            place = finder.find(cells[column])
        except DataError as error:
            raise DataError(
                f"{table.path}, line {line}: {error} If it is no table of images, give --class-level, or move it away."
            ) from error
        if place is None:
            raise DataError(
                f"{table.path}, line {line}: {cells[column]!r} is not inside the CSV's folder; expected a file below "
                "it, or the absolute path of one that exists."
            )
        if place in found:
            shown = place.relative_to(finder.folder).as_posix() if finder.folder in place.parents else str(place)
            raise DataError(f"{table.path}, lines {found[place]} and {line} both name {shown!r}; expected it once.")
        found[place] = line
    outside = [place for place in found if finder.folder not in place.parents]
    if outside:
        warn(
            f"{len(outside)} of the {len(found)} images of {table.path} lie outside of its folder, such as "
            f"{outside[0]}: they are taken from there."
        )
    if finder.elsewhere:
        warn(
            f"{table.path} has absolute paths that do not exist here; images were found below {finder.folder} by the "
            "last parts of their paths."
        )
    if finder.other_case:
        warn(f"{table.path} names image files in other capital or small letters than they have; they are taken.")
    return list(found)


def _root_and_ids(root: Path, files: list[Path]) -> tuple[Path, list[str]]:
    """Return ``root`` if it holds all images, or else their common folder, and each path relative to it."""
    folder = Path(os.path.abspath(root))
    if not all(folder in file.parents for file in files):
        folder = root = Path(os.path.commonpath([file.parent for file in files]))
    return root, [file.relative_to(folder).as_posix() for file in files]
