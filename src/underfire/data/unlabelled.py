"""Images without labels: one image file, or all images of a folder."""

from __future__ import annotations

import os
from pathlib import Path

from underfire.data.decode import IMAGE_SUFFIXES
from underfire.data.file_data import FileData
from underfire.data.places import files_below, files_in
from underfire.data.tables import TABLE_SUFFIXES
from underfire.errors import DataError
from underfire.files import path_of

_TABLES = {*TABLE_SUFFIXES, ".json", ".jsonl", ".parquet"}
NO_LABEL = -1
"""The label of images without a label."""


class UnlabelledData(FileData):
    """Images that nobody has sorted into classes. All have the label -1, and there are no class names.

    Args:
        path: an image file; or a folder, of which all images are taken, those of its subfolders too, sorted by path.

    Raises:
        DataError: the folder cannot be listed, or holds no images.
    """

    layout = "images without classes"

    def __init__(self, path: str | Path) -> None:
        path = path_of("path", path)
        if os.path.isfile(path):
            root, found = path.parent, [path.name]
        else:
            images = [each.relative_to(path).as_posix() for each in files_below(path) if is_image(each)]
            root, found = path, sorted(images)
        if not found:
            raise DataError(f"{path} holds no images, not in its subfolders either.")
        super().__init__(path.resolve().name, root, [(each, NO_LABEL) for each in found], ())


def images_in(path: Path) -> int:
    """Count the images that a folder holds itself, not in its subfolders; 1 for an image file, and 0 for others."""
    if os.path.isdir(path):
        return sum(is_image(Path(name)) for name in files_in(path))
    return int(os.path.isfile(path) and is_image(path))


def has_table(folder: Path) -> bool:
    """Return True if a folder holds a file that may be a table of images."""
    return any(Path(name).suffix.lower() in _TABLES for name in files_in(folder))


def is_image(path: Path) -> bool:
    """Return True if the name ends as that of an image file does."""
    return path.suffix.lower() in IMAGE_SUFFIXES
