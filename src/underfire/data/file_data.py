"""Data sets of image files below one folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from underfire.data.dataset import ImageData, Record
from underfire.data.decode import decode_file
from underfire.data.pixels import Picture
from underfire.data.places import is_special

UNREADABLE = "unreadable"
"""A fingerprint holds this word, and no hash, for a file that cannot be read."""


class FileData(ImageData):
    """Image files below one folder. An id is the path relative to the folder, with ``/`` on every system.

    Args:
        name: a short name for tables.
        root: the folder.
        files: the path of each image relative to ``root``, and its label.
        names: one name per class.
    """

    def __init__(self, name: str, root: Path, files: Sequence[tuple[str, int]], names: Sequence[str]) -> None:
        self.name = name
        self.root = root
        self.class_names = tuple(names)
        self._files = list(files)

    def __len__(self) -> int:
        return len(self._files)

    def record(self, index: int) -> Record:
        image_id, label = self._files[self._checked(index)]
        return Record(image_id, str(self.root / image_id), label)

    def read(self, index: int) -> Picture:
        return decode_file(Path(self.record(index).path))

    def content(self, index: int) -> str:
        _, digest = _size_and_content(Path(self.record(index).path))
        return "" if digest == UNREADABLE else f"file:{digest}"

    def used_labels(self) -> set[int]:
        return {label for _, label in self._files}

    def fingerprint(self) -> str:
        """Return a SHA-256 over the class names and each image's relative path, label, size and content, in order."""
        digest = hashlib.sha256(repr(self.class_names).encode("utf-8", "backslashreplace"))
        for image_id, label in self._files:
            size, content = _size_and_content(self.root / image_id)
            digest.update(repr((image_id, label, size, content)).encode("utf-8", "backslashreplace"))
        return digest.hexdigest()


def _size_and_content(path: Path) -> tuple[str, str]:
    if is_special(path):
        return "", UNREADABLE
    try:
        with path.open("rb") as file:
            return str(os.fstat(file.fileno()).st_size), hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return "", UNREADABLE
