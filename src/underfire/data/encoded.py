"""Encoded images in a column of a table of pyarrow, with a column of classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from underfire.data.classes import in_order, label_problem, numbered
from underfire.data.dataset import ImageData, Record
from underfire.data.decode import decode_image
from underfire.data.pixels import Picture
from underfire.errors import DataError, InputError, UnreadableImageError, unknown_name

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "labels", "fine_label")


class EncodedData(ImageData):
    """Images of a table of pyarrow, which is held in memory; ``read`` decodes one of them.

    An id is the name of the data set and the row number (``test/00012``).

    Args:
        name: a short name for tables.
        where: the file or folder, for messages.
        files: all files that the table comes from, for the fingerprint.
        table: a ``pyarrow.Table`` with the two columns.
        image_column: the column with structs {bytes, path}, or plain bytes.
        label_column: the column with integers or with texts, which are names of classes.

    Raises:
        DataError: no rows, a column of another type, or a label that is missing or out of range.
    """

    def __init__(
        self, name: str, where: Path, files: Sequence[Path], table: Any, image_column: str, label_column: str
    ) -> None:
        import pyarrow as pa

        self.name, self.path, self._sources = name, where, list(files)
        if not table.num_rows:
            raise DataError(f"{where} holds no rows.")
        self._images: Any = table.column(image_column)
        if not _holds_bytes(self._images.type):
            raise DataError(
                f"column {image_column!r} of {where} is of type {self._images.type}; expected encoded "
                "images: bytes, or structs with a field 'bytes'."
            )
        kind = table.schema.field(label_column).type
        labels: list[Any] = table.column(label_column).to_pylist()
        missing = next((row for row, label in enumerate(labels) if label is None or label == ""), None)
        if missing is not None:
            raise DataError(f"row {missing} of {where} has no label.")
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            names = in_order(labels)
            position = {text: label for label, text in enumerate(names)}
            self._labels = [position[text] for text in labels]
        elif pa.types.is_integer(kind):
            names = _class_names(table.schema.metadata or {}, label_column)
            self._labels = [self._label(row, label, names) for row, label in enumerate(labels)]
        else:
            raise DataError(
                f"column {label_column!r} of {where} is of type {kind}; expected integers, the numbers of the classes, "
                "or texts, their names."
            )
        self.class_names = names or numbered(self._labels)

    def _label(self, row: int, label: int, names: tuple[str, ...]) -> int:
        if problem := label_problem(label, len(names) or None):
            raise DataError(f"row {row} of {self.path}: {problem}.")
        return label

    def __len__(self) -> int:
        return len(self._labels)

    def record(self, index: int) -> Record:
        self._checked(index)
        return Record(f"{self.name}/{index:05d}", f"{self.path}#{index}", self._labels[index])

    def read(self, index: int) -> Picture:
        where = f"row {self._checked(index)} of {self.path}"
        content = self._bytes(index)
        if content is None:
            raise UnreadableImageError(f"{where} holds no image: its bytes are missing, and paths are not followed.")
        return decode_image(content, where)

    def content(self, index: int) -> str:
        content = self._bytes(self._checked(index))
        return "" if content is None else f"file:{hashlib.sha256(content).hexdigest()}"

    def _bytes(self, index: int) -> bytes | None:
        """Return the encoded image of a row; None if it has none."""
        value = self._images[index].as_py()
        found: bytes | None = value["bytes"] if isinstance(value, dict) else value
        return found

    def fingerprint(self) -> str:
        digests = []
        for path in self._sources:
            with path.open("rb") as file:
                digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def find_column(where: Path, present: Sequence[str], known: tuple[str, ...], what: str, asked: str | None) -> str:
    """Find a column by the user's name, or by the first known name. Raises InputError or DataError if it is not there.

    Args:
        where: the file, for messages.
        present: the columns that there are.
        known: the usual names.
        what: what the column holds, for messages.
        asked: the user's name for it; None if the user does not say.
    """
    if asked is not None:
        if asked not in present:
            raise InputError(str(unknown_name(f"column of {where}", asked, present)))
        return asked
    for name in known:
        if name in present:
            return name
    raise DataError(
        f"{where} has no {what} column; expected one of {known}, found {list(present)}. Another column: "
        f"--{'file' if what == 'image' else what}-column NAME."
    )


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
