"""Reading of tables of all kinds: text, lines of JSON, and Parquet files that name images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from underfire.data.places import is_special
from underfire.data.tables import Table, read_table
from underfire.errors import DataError

TABLE_KINDS = (".jsonl", ".ndjson", ".parquet")
"""Suffixes of tables that are no text tables."""


def open_table(path: Path, *, first_rows: int | None = None) -> Table:
    """Read a table: ``.jsonl`` (an object on each line), ``.parquet``, or a text table.

    In the first two, columns of lists and objects are left out, and missing values are empty texts.

    Args:
        path: the file.
        first_rows: how many rows to read; all if None.

    Raises:
        DataError: the file is missing, empty or malformed; the message gives the line.
    """
    kind = path.suffix.lower()
    if kind not in TABLE_KINDS:
        return read_table(path, first_rows=first_rows)
    if is_special(path):
        raise DataError(f"{path} is a pipe, a device or a socket; expected a file.")
    objects = _parquet_rows(path) if kind == ".parquet" else _json_lines(path)
    return _table(path, islice(objects, first_rows))


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                yield line, _object(path, line, text)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from error


def _object(path: Path, line: int, text: str) -> Mapping[str, Any]:
    try:
        held = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}; expected an object of JSON on each line.") from error
    if not isinstance(held, dict):
        raise DataError(f"{path}, line {line}: expected an object of JSON, found {text.strip():.40}.")
    return held


def _parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the row number, from 1, and the row, without columns of bytes, lists and structs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = [field.name for field in file.schema_arrow if not _is_large(field.type)]
            row = 0
            for batch in file.iter_batches(columns=columns):
                for held in batch.to_pylist():
                    row += 1
                    yield row, held
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a parquet file: {error}") from error


def _is_large(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _table(path: Path, objects: Iterable[tuple[int, Mapping[str, Any]]]) -> Table:
    found = list(objects)
    keys = dict.fromkeys(key for _, held in found for key in held)
    header = [key for key in keys if not any(isinstance(held.get(key), list | dict) for _, held in found)]
    rows = [(line, [_text(held.get(key)) for key in header]) for line, held in found]
    return Table(path, tuple(header), rows)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()
