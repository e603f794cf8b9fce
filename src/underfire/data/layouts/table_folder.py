"""A table of image files and labels, or a folder with one."""

from __future__ import annotations

from pathlib import Path

from underfire.data.csv_data import CsvData
from underfire.data.dataset import ImageData
from underfire.data.layouts.layout import Layout
from underfire.data.layouts.tables import is_label_table
from underfire.data.options import DataOptions
from underfire.data.places import files_in
from underfire.data.splits import is_split, named_split
from underfire.data.tables import TABLE_SUFFIXES
from underfire.errors import DataError


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if not path.is_dir():
        return CsvData(path, options) if path.suffix.lower() in TABLE_SUFFIXES else None
    # Chosen by their first rows: a folder of classes often has tables of other things too, such as class names.
    tables = [name for name in files_in(path) if name.lower().endswith(TABLE_SUFFIXES)]
    found = [name for name in tables if is_label_table(path / name, options)]
    stems = {Path(name).stem: name for name in found}
    if len(found) > 1 and options.split is not None and any(map(is_split, stems)):
        name = stems[named_split(options.split, stems, str(path))]
        return CsvData(path / name, DataOptions(options.file_column, options.label_column, white=options.white))
    if len(found) > 1:
        raise DataError(f"{path} holds several CSV files of labels: {', '.join(found)}; give the path of one.")
    return CsvData(path / found[0], options) if found else None


LAYOUT = Layout("a table of files and labels", _open, ("file_column", "label_column", "split", "white"))
