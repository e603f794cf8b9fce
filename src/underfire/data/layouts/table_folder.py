"""A table of image files and labels, or a folder with one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from underfire.data.csv_data import CsvData
from underfire.data.dataset import ImageData
from underfire.data.finder import Finder
from underfire.data.folder import NO_CLASS, PART
from underfire.data.layouts.layout import Layout
from underfire.data.layouts.tables import columns_of, is_label_table, lacks_labels, tables_in
from underfire.data.options import DataOptions
from underfire.data.places import files_below, subfolders
from underfire.data.splits import named_split, split_in
from underfire.data.table_files import TABLE_KINDS, open_table
from underfire.data.tables import TABLE_SUFFIXES
from underfire.data.unlabelled import is_image
from underfire.errors import DataError


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if not path.is_dir():
        is_table = path.suffix.lower() in (*TABLE_SUFFIXES, *TABLE_KINDS) or (
            not path.suffix and is_label_table(path, options)
        )
        return CsvData(path, options) if is_table else None
    if options.class_level is not None:  # the user says that folders are the classes
        return None
    found = _label_tables(path, options)
    stems = {Path(name).stem: name for name in found}
    splits = {split_in(stem) for stem in stems} - {None}
    whole = splits == {split_in(options.split or "")} and not _has_splits(path / found[0], options)
    if options.split is not None and ((len(found) > 1 and splits) or whole):
        name = stems[named_split(options.split, stems, str(path))]
        return CsvData(path / name, replace(options, split=None))
    if len(found) > 1:
        by_split = f", or --split {sorted(map(str, splits))[0]}" if len(splits) == len(found) else ""
        raise DataError(
            f"{path} holds several CSV files of labels: {', '.join(found)}; give the path of one{by_split}."
        )
    if found:
        return CsvData(path / found[0], options)
    below = _one_folder_down(path, options) if options.split is None and options.class_level is None else None
    if below is None and (options.file_column or options.label_column):
        for name in filter(lambda name: lacks_labels(path / name), tables_in(path)):
            CsvData(path / name, options)  # raises an error that names the missing column
    return below


def _label_tables(folder: Path, options: DataOptions) -> list[str]:
    """Return the names of the files that are tables of labels. The suffix may be missing, as that of HAM10000's is."""
    # Chosen by their first rows: a folder of classes often has tables of other things too, such as class names.
    return [name for name in tables_in(folder) if is_label_table(folder / name, options)]


def _has_splits(path: Path, options: DataOptions) -> bool:
    """Return True if a table has a column of splits."""
    return columns_of(open_table(path, first_rows=1), options)[1].split is not None


def _one_folder_down(path: Path, options: DataOptions) -> ImageData | None:
    """Open the one table that lies in a subfolder without images, if all images lie in one subfolder beside it.

    They may lie in several that are named as parts of one set. Folders with other names are classes. The table may
    also lie among the images, in a folder called ``Images`` or so.
    """
    finder = Finder(path)
    folders = [path / name for name in subfolders(path)]
    filled = [folder for folder in folders if any(map(is_image, files_below(folder)))]
    if not filled or (len(filled) > 1 and not all(PART.fullmatch(folder.name) for folder in filled)):
        return None
    alone = filled[0] if len(filled) == 1 and NO_CLASS.fullmatch(filled[0].name) else None
    places = [folder for folder in folders if folder not in filled or folder == alone]
    tables = [folder / name for folder in places for name in _label_tables(folder, options)]
    tables = [table for table in tables if (place := finder.find(_first_file(table, options))) and place.is_file()]
    if len(tables) > 1:
        raise DataError(
            f"{path} holds several tables of labels: {', '.join(map(str, tables))}; expected one. Put each beside its "
            "images, and give the path of its folder."
        )
    return CsvData(tables[0], options, path) if tables else None


def _first_file(path: Path, options: DataOptions) -> str:
    """Return the image file that the first row of a table names; an empty text if there are no rows."""
    table = open_table(path, first_rows=1)
    return table.rows[0][1][columns_of(table, options)[1].file] if table.rows else ""


LAYOUT = Layout("a table of files and labels", _open, ("file_column", "label_column", "split", "white"))
