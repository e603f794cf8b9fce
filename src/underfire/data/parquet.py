"""Parquet files in the Hugging Face layout: a column of encoded images and a column of labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from underfire.data.encoded import IMAGE_COLUMNS, LABEL_COLUMNS, EncodedData, find_column
from underfire.errors import DataError, InputError
from underfire.files import path_of


class ParquetData(EncodedData):
    """Images of one parquet file, or of several files with the same columns, one after the other.

    An id is the file's stem and the row number (``test/00012``).

    The encoded images are held in memory; ``read`` decodes one of them.

    Args:
        path: the file, or the files in order. The image column (``img`` or ``image``) holds structs {bytes, path} or
            plain bytes; the label column (``label``, ``labels`` or ``fine_label``) holds integers, or the names of
            classes. For integers, class names come from the schema's ``huggingface`` metadata; without them, the names
            are the numbers.
        name: a short name for tables; the stem of the first file if None.
        image_column, label_column: other names of the columns.

    Raises:
        DataError: not a parquet file, no rows, a missing column, or a label that is missing or out of range.
        InputError: a column that is asked for does not exist.
    """

    layout = "parquet"

    def __init__(
        self,
        path: str | Path | Sequence[Path],
        *,
        name: str | None = None,
        image_column: str | None = None,
        label_column: str | None = None,
    ) -> None:
        import pyarrow as pa

        given = path if isinstance(path, Iterable) and not isinstance(path, str | os.PathLike) else [path]
        files = [path_of("path", each) for each in given]
        if not files:
            raise InputError("path is empty; expected at least one file.")
        parts = [_read(file, image_column, label_column) for file in files]
        if len({tuple(part.schema.names) for part in parts}) > 1:
            raise DataError(
                f"the files {', '.join(map(str, files))} have different columns; expected shards of one set."
            )
        table = parts[0] if len(parts) == 1 else pa.concat_tables(parts)
        where = files[0] if len(files) == 1 else files[0].parent
        super().__init__(name or files[0].stem, where, files, table, *table.schema.names)
        if len(files) > 1:
            self.layout = f"{len(files)} parquet shards of {name or files[0].stem!r}"


def _read(path: Path, image_column: str | None, label_column: str | None) -> Any:
    """Read the image column and the label column of a file, in this order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            images = find_column(path, present, IMAGE_COLUMNS, "image", image_column)
            labels = find_column(path, present, LABEL_COLUMNS, "label", label_column)
            table = file.read(columns=[images, labels])
            return table.select([images, labels])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a parquet file: {error}") from error


def holds_images(path: Path, image_column: str | None = None) -> bool:
    """Return True if a column of images in a parquet file has encoded ones: structs {bytes, path}, or plain bytes.

    Other structs are boxes or masks, for example, and other bytes are hashes.

    Args:
        path: the file.
        image_column: the user's name of the column; one of ``IMAGE_COLUMNS`` if None.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        return False

    def is_image(column: Any) -> bool:
        kind = column.type
        if column.name not in (IMAGE_COLUMNS if image_column is None else (image_column,)):
            return False
        if pa.types.is_struct(kind):
            return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    return any(map(is_image, schema))
