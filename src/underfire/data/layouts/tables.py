"""The tables of image files that publishers give, and all other tables with columns of usual names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from underfire.data.columns import Columns, names_images, usual_columns
from underfire.data.layouts import ham10000, imagefolder, isic
from underfire.data.options import DataOptions
from underfire.data.places import files_in
from underfire.data.table_files import open_table
from underfire.data.tables import TABLE_SUFFIXES, Table, has_image_suffix, squeeze
from underfire.errors import DataError, InputError

NAMES: tuple[Callable[[Table], str | None], ...] = (isic.name_of, ham10000.name_of, imagefolder.name_of)
"""Functions that name the tables of a publisher, and return None for other tables."""

_FIRST = 20


def columns_of(table: Table, options: DataOptions) -> tuple[str, Columns]:
    """Return the name of a table's layout, and its columns. Errors as in ``usual_columns``."""
    columns = usual_columns(table, options.file_column, options.label_column)
    names = (name for name_of in NAMES if (name := name_of(table)) is not None)
    return next(names, _usual_name(table, columns)), columns


def tables_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder that may be tables of images. HAM10000's has no suffix."""
    names = files_in(folder)
    tables = [
        name for name in names if Path(name).suffix.lower() in ("", *TABLE_SUFFIXES) or name in imagefolder.METADATA
    ]
    # A competition's example of an answer has labels that are not true.
    return [name for name in tables if "samplesubmission" not in squeeze(name)]


def is_label_table(path: Path, options: DataOptions) -> bool:
    """Return True if the first rows of a table are image files with labels, in the user's columns if they are named.

    Raises:
        DataError: a table cannot be read whose name is one of ``imagefolder.METADATA``.
    """
    try:
        table = open_table(path, first_rows=_FIRST)
    except DataError:
        if path.name in imagefolder.METADATA:  # a name that says what it is: its labels must not give way to folders
            raise
        return False
    try:
        columns = usual_columns(table, options.file_column, options.label_column)
    except (DataError, InputError):
        return False
    if table.header:
        return True
    return all(has_image_suffix(cells[columns.file]) for _, cells in table.rows)


def lacks_labels(path: Path) -> bool:
    """Return True if a table has a header and names images, but no column with a usual name for their labels."""
    try:
        table = open_table(path, first_rows=_FIRST)
    except DataError:
        return False
    if not table.header or not names_images(table):
        return False
    try:
        usual_columns(table)
    except DataError:
        return True
    return False


def _usual_name(table: Table, columns: Columns) -> str:
    if not table.header:
        return "a list of files and labels"
    return "a table of files and labels" if columns.label is not None else "a table with a column per class"
