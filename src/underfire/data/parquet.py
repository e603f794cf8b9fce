"""Parquet files in the Hugging Face layout: a column of encoded images and a column of labels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from PIL import Image

from underfire.data.classes import label_problem, numbered
from underfire.data.dataset import ImageData, Record
from underfire.data.decode import decode_image
from underfire.errors import DataError, UnreadableImageError


class ParquetData(ImageData):
    """Images of one parquet file. An id is the file's stem and the row number (``test/00012``).

    The encoded images are held in memory; ``read`` decodes one of them.

    Args:
        path: the file. The image column (``img`` or ``image``) holds structs {bytes, path} or plain bytes; the label
            column (``label``, ``labels`` or ``fine_label``) holds integers. Class names come from the schema's
            ``huggingface`` metadata; without them, the names are the numbers.

    Raises:
        DataError: not a parquet file, no rows, a missing column, or a label that is missing or out of range.
    """

    def __init__(self, path: str | Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path = Path(path)
        self.name = self.path.stem
        try:
            with pq.ParquetFile(self.path) as file:
                schema = file.schema_arrow
                image_column = self._column(schema.names, ("img", "image"), "image")
                label_column = self._column(schema.names, ("label", "labels", "fine_label"), "label")
                table = file.read(columns=[image_column, label_column])
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self.path} cannot be read as a parquet file: {error}") from error
        if not table.num_rows:
            raise DataError(f"{self.path} holds no rows.")
        self._images: Any = table.column(image_column)
        if not _holds_bytes(self._images.type):
            raise DataError(
                f"column {image_column!r} of {self.path} is of type {self._images.type}; expected encoded "
                "images: bytes, or structs with a field 'bytes'."
            )
        if not pa.types.is_integer(table.schema.field(label_column).type):
            raise DataError(
                f"column {label_column!r} of {self.path} is of type {table.schema.field(label_column).type}; "
                "expected integers: the numbers of the classes."
            )
        labels: list[int | None] = table.column(label_column).to_pylist()
        names = _class_names(schema.metadata or {}, label_column)
        self._labels = [self._label(row, label, names) for row, label in enumerate(labels)]
        self.class_names = names or numbered(self._labels)

    def _column(self, present: list[str], known: tuple[str, ...], what: str) -> str:
        for name in known:
            if name in present:
                return name
        raise DataError(f"{self.path} has no {what} column; expected one of {known}, found {present}.")

    def _label(self, row: int, label: int | None, names: tuple[str, ...]) -> int:
        if label is None:
            raise DataError(f"row {row} of {self.path} has no label.")
        if problem := label_problem(label, len(names) or None):
            raise DataError(f"row {row} of {self.path}: {problem}.")
        return label

    def __len__(self) -> int:
        return len(self._labels)

    def record(self, index: int) -> Record:
        self._checked(index)
        return Record(f"{self.name}/{index:05d}", f"{self.path}#{index}", self._labels[index])

    def read(self, index: int) -> Image.Image:
        where = f"row {self._checked(index)} of {self.path}"
        value = self._images[index].as_py()
        content = value["bytes"] if isinstance(value, dict) else value
        if content is None:
            raise UnreadableImageError(f"{where} holds no image: its bytes are missing, and paths are not followed.")
        return decode_image(content, where)

    def fingerprint(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(metadata: dict[bytes, bytes], label_column: str) -> tuple[str, ...]:
    """Read the class names from Hugging Face's description of the columns; empty if there are none."""
    try:
        node: Any = json.loads(metadata.get(b"huggingface", b"{}"))
    except ValueError:
        return ()
    for key in ("info", "features", label_column, "names"):
        node = node.get(key) if isinstance(node, dict) else None
    return tuple(map(str, node)) if isinstance(node, list) else ()
