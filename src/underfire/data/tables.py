"""Reading of text tables: separated by commas, semicolons, tabs or blanks, with or without a header."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from underfire.data.decode import IMAGE_SUFFIXES
from underfire.data.places import is_special
from underfire.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
_SEPARATORS = (",", ";", "\t")
_EXCEL = re.compile(r"\"?sep=([^\r\n\"])\"?\s*", re.IGNORECASE)
_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Table:
    """A text table.

    Attributes:
        path: the file.
        header: the names of the columns; empty if the file has none.
        rows: the line number of each row (of its last line), and its cells without blanks around them.
    """

    path: Path
    header: tuple[str, ...]
    rows: list[tuple[int, list[str]]]

    def squeezed(self) -> list[str]:
        """Return the header with small letters and digits only, in which ``Image_ID`` and ``imageid`` are the same."""
        return [squeeze(name) for name in self.header]


def squeeze(name: str) -> str:
    """Reduce the name of a column to small letters and digits."""
    return re.sub(r"[\W_]", "", name.casefold())


def read_table(path: Path, *, first_rows: int | None = None) -> Table:
    """Read a table.

    Args:
        path: a file of UTF-8 text, or of UTF-16 text with a byte order mark. Its first line may be ``sep=;``, by which
            Excel knows the separator.
        first_rows: how many rows to read, without malformed ones; all if None. Text in another encoding is no error
            then, but signs of it are lost: such a look tells if the file is a table of labels.

    Raises:
        DataError: the file is missing, empty or malformed; the message gives the line.
    """
    with _opened(path, strict=first_rows is None) as file:
        first = file.readline()
        told = _EXCEL.fullmatch(first)
        if told is None:
            file.seek(0)
        separator = _separator(path, first) if told is None else told[1]
        rows = _by_blanks(file) if separator == " " else _separated(path, file, separator, 0 if told is None else 1)
        found: list[tuple[int, list[str]]] = []
        for line, cells in rows:
            if any(cells):
                found.append((line, cells))
                if first_rows is not None and len(found) > first_rows:
                    break
    header: list[str] = []
    if found and not _is_row(found[0][1]):
        header = found.pop(0)[1]
    width = len(header) if header else len(found[0][1]) if found else 0
    if first_rows is not None:
        return Table(path, tuple(header), [row for row in found if len(row[1]) == width])
    for line, cells in found:
        if len(cells) != width:
            source = "in the header" if header else "in the first line"
            raise DataError(
                f"{path}, line {line}: {len(cells)} fields; expected {width}, as {source}. A separator inside of a "
                "field needs quotes around the field."
            )
    return Table(path, tuple(header), found)


def has_image_suffix(name: str) -> bool:
    """Return True if ``name`` ends like an image file, such as ``a/b.JPEG``."""
    return PurePosixPath(name.replace("\\", "/")).suffix.lower() in IMAGE_SUFFIXES


def _is_row(cells: list[str]) -> bool:
    """Return True if the first line of a table is a row of it, and not a header: it names an image file."""
    return any(map(has_image_suffix, cells))


def _separator(path: Path, first: str) -> str:
    """Choose the separator by the first line. Lists of files (``.txt``) may be separated by blanks."""
    counts = {mark: first.count(mark) for mark in _SEPARATORS}
    best = max(_SEPARATORS, key=counts.__getitem__)
    return " " if not counts[best] and path.suffix.lower() == ".txt" else best


def _by_blanks(file: Any) -> Iterator[tuple[int, list[str]]]:
    """Split each line at its last blank, because names of files may have blanks in them."""
    for line, text in enumerate(file, 1):
        yield line, text.strip().rsplit(None, 1)


def _separated(path: Path, file: Any, separator: str, passed: int) -> Iterator[tuple[int, list[str]]]:
    """Split each line after the first ``passed`` ones at the separators."""
    reader: Any = csv.reader(file, strict=True, delimiter=separator)
    try:
        for row in reader:
            yield reader.line_num + passed, [cell.strip() for cell in row]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num + passed}: {error}.") from error


@contextmanager
def _opened(path: Path, strict: bool) -> Iterator[Any]:
    if is_special(path):
        raise DataError(f"{path} is a pipe, a device or a socket; expected a file.")
    try:
        with path.open("rb") as start:
            is_utf_16 = start.read(2) in _BYTE_ORDER_MARKS
        # utf-8-sig: without it, the byte order mark of spreadsheets would become part of the first column's name.
        encoding, errors = "utf-16" if is_utf_16 else "utf-8-sig", "strict" if strict else "replace"
        with path.open(encoding=encoding, errors=errors, newline="") as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: {error}. Spreadsheets often save tables in the encoding of the system, such as "
            "cp1252: save it as UTF-8 (in Excel: 'CSV UTF-8')."
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
