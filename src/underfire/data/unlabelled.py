"""Images without labels: one image file, or all images of a folder."""

from __future__ import annotations

import os
from pathlib import Path

from underfire.data.decode import IMAGE_SUFFIXES
from underfire.data.file_data import FileData
from underfire.data.places import files_below, files_in
from underfire.errors import DataError

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
        path = Path(path)
        if os.path.isfile(path):
            root, found = path.parent, [path.name]
        else:
            images = [each.relative_to(path).as_posix() for each in files_below(path) if is_image(each)]
            root, found = path, sorted(images)
        if not found:
            raise DataError(f"{path} holds no images, not in its subfolders either.")
        super().__init__(path.resolve().name, root, [(each, NO_LABEL) for each in found], ())


def has_images(path: Path) -> bool:
    """Return True for an image file, and for a folder that holds images itself, not only in its subfolders."""
    if os.path.isdir(path):
        return any(is_image(Path(name)) for name in files_in(path))
    return os.path.isfile(path) and is_image(path)


def only_images(folder: Path) -> bool:
    """Return True for a folder that holds images, and beside its subfolders nothing else, such as a table."""
    names = files_in(folder)
    return bool(names) and all(is_image(Path(name)) for name in names)


def is_image(path: Path) -> bool:
    """Return True if the name ends as that of an image file does."""
    return path.suffix.lower() in IMAGE_SUFFIXES
