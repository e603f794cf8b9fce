"""Reading of CSV files with one image file and its label per row."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from underfire.data.classes import in_order, label_problem, numbered
from underfire.errors import DataError

FILE_COLUMNS = ("file", "filename", "path", "image")
LABEL_COLUMNS = ("label", "class", "target")

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def read_labels_csv(path: Path) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
    """Read the image files, their labels, and the class names.

    Args:
        path: the CSV file, as ``CsvData`` describes it.

    Returns:
        One (file, label) per row, and the class names. Files are POSIX paths relative to the CSV's folder; a label is a
        position among the class names.

    Raises:
        DataError: the CSV file is missing, empty or malformed; the message gives the line.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path} holds a header but no rows.")
    files: dict[str, int] = {}
    for line, file, _ in rows:
        relative = _relative(path, line, file)
        if relative in files:
            raise DataError(f"{path}, lines {files[relative]} and {line} both name {relative!r}; expected it once.")
        files[relative] = line
    labels, names = _labels(path, [(line, label) for line, _, label in rows])
    return list(zip(files, labels, strict=True)), names


def is_labels_csv(path: Path) -> bool:
    """Return True if the header of the CSV file at ``path`` has a file column and a label column."""
    try:
        with _reader(path) as reader:
            _columns(path, next(reader, []))
    except DataError:
        return False
    return True


@contextmanager
def _reader(path: Path) -> Iterator[Any]:
    reader: Any = None
    try:
        # utf-8-sig: without it, the byte order mark of spreadsheets would become part of the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            yield reader
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error}.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, file, label) of each row. The number is that of the row's last line."""
    with _reader(path) as reader:
        header: list[str] = next(reader, [])
        file_column, label_column = _columns(path, header)
        for row in reader:
            if not any(map(str.strip, row)):
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} fields; expected {len(header)}, as in the "
                    "header. A comma inside of a field needs quotes around the field."
                )
            yield reader.line_num, row[file_column].strip(), row[label_column].strip()


def _columns(path: Path, header: Sequence[str]) -> tuple[int, int]:
    present = [name.strip().lower() for name in header]
    found = []
    for what, known in (("file", FILE_COLUMNS), ("label", LABEL_COLUMNS)):
        name = next((name for name in known if name in present), None)
        if name is None:
            separated = " Are the columns separated by commas?" if len(header) == 1 else ""
            raise DataError(
                f"{path}, line 1: no {what} column; expected one of {', '.join(known)}, found {header}.{separated}"
            )
        if present.count(name) > 1:
            raise DataError(f"{path}, line 1: {present.count(name)} columns are called {name!r}; expected one.")
        found.append(present.index(name))
    return found[0], found[1]


def _relative(path: Path, line: int, file: str) -> str:
    """Return the POSIX path of ``file`` relative to the folder of the CSV file at ``path``."""
    if not file:
        raise DataError(f"{path}, line {line}: the file name is empty.")
    # Links are not followed, because a folder may consist of links into a store of images.
    folder = Path(os.path.abspath(path.parent))
    place = Path(os.path.normpath(folder / file))
    if folder not in place.parents:
        raise DataError(f"{path}, line {line}: {file!r} is not inside the CSV's folder; expected a file below it.")
    return place.relative_to(folder).as_posix()


def _labels(path: Path, rows: Sequence[tuple[int, str]]) -> tuple[list[int], tuple[str, ...]]:
    """Turn (line number, text of the label) into labels and class names."""
    first: dict[bool, tuple[int, str]] = {}
    for line, text in rows:
        if not text:
            raise DataError(f"{path}, line {line}: the label is empty.")
        first.setdefault(_NUMBER.fullmatch(text) is not None, (line, text))
    if len(first) == 2:
        # If numbers were allowed among names, one typing error would renumber all classes.
        (number_line, number), (name_line, name) = first[True], first[False]
        raise DataError(
            f"{path}: the label on line {number_line} is the number {number!r}, but the label on line {name_line} is "
            f"the name {name!r}; expected only integers or only names."
        )
    if False in first:
        names = in_order(text for _, text in rows)
        position = {name: label for label, name in enumerate(names)}
        return [position[text] for _, text in rows], names
    labels = []
    for line, text in rows:
        if not _INTEGER.fullmatch(text):
            raise DataError(f"{path}, line {line}: label {text!r} is a number, but not an integer from 0.")
        if problem := label_problem(int(text), None):
            raise DataError(f"{path}, line {line}: {problem}.")
        labels.append(int(text))
    return labels, numbered(labels)
