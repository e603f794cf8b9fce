"""The tables of image files that publishers give, and all other tables with columns of usual names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from underfire.data.columns import Columns, usual_columns
from underfire.data.layouts import ham10000, isic, metadata_csv
from underfire.data.options import DataOptions
from underfire.data.tables import Table, has_image_suffix, read_table
from underfire.errors import DataError

NAMES: tuple[Callable[[Table], str | None], ...] = (isic.name_of, ham10000.name_of, metadata_csv.name_of)
"""Functions that name the tables of a publisher, and return None for other tables."""

_FIRST = 20


def columns_of(table: Table, options: DataOptions) -> tuple[str, Columns]:
    """Return the name of a table's layout, and its columns. Errors as in ``usual_columns``."""
    columns = usual_columns(table, options.file_column, options.label_column)
    names = (name for name_of in NAMES if (name := name_of(table)) is not None)
    return next(names, _usual_name(table, columns)), columns


def is_label_table(path: Path, options: DataOptions) -> bool:
    """Return True if the first rows of a text file are image files with labels."""
    try:
        table = read_table(path, first_rows=_FIRST)
        columns = usual_columns(table, options.file_column, options.label_column)
    except DataError:
        return False
    if table.header:
        return True
    return all(has_image_suffix(cells[columns.file]) for _, cells in table.rows)


def _usual_name(table: Table, columns: Columns) -> str:
    if not table.header:
        return "a list of files and labels"
    return "a table of files and labels" if columns.label is not None else "a table with a column per class"
