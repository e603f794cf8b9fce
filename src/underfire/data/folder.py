"""Image files: in a folder with one subfolder per class, or named by a CSV file with labels."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from underfire.data.classes import in_order
from underfire.data.dataset import ImageData, Record
from underfire.data.decode import IMAGE_SUFFIXES, decode_image, read_bytes
from underfire.data.labels_csv import read_labels_csv
from underfire.errors import DataError, UnderfireWarning
from underfire.text import first_few


class _FileData(ImageData):
    """Image files below one folder. An id is the path relative to the folder, with ``/`` on every system."""

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

    def read(self, index: int) -> Image.Image:
        path = Path(self.record(index).path)
        return decode_image(read_bytes(path), str(path))

    def fingerprint(self) -> str:
        """Return a SHA-256 over the class names and each image's relative path, label, size and content, in order."""
        digest = hashlib.sha256(repr(self.class_names).encode("utf-8", "backslashreplace"))
        for image_id, label in self._files:
            try:
                with (self.root / image_id).open("rb") as file:
                    size = str(os.fstat(file.fileno()).st_size)
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except (OSError, ValueError):
                size, content = "", "unreadable"
            digest.update(repr((image_id, label, size, content)).encode("utf-8", "backslashreplace"))
        return digest.hexdigest()


class FolderData(_FileData):
    """A folder with one subfolder per class (``root/class/**/image``).

    A label is the position of the subfolder in sorted order, by value if all names of subfolders are numbers.
    Subfolders without images count too, with a warning. Images are sorted by class, then by path. Left out are names
    that begin with a dot, files that are not images, and files directly in the root. Links to folders are followed for
    the root and the class folders only.

    Args:
        root: the folder.

    Raises:
        DataError: the folder does not exist, has no subfolders or no images in them, or cannot be listed.
    """

    def __init__(self, root: str | Path) -> None:
        root = Path(root)
        if not root.is_dir():
            problem = "is not a folder" if root.exists() else "does not exist"
            raise DataError(f"{root} {problem}; expected a folder with images in root/class/image.")
        names = class_folders(root)
        files = [(path, label) for label, name in enumerate(names) for path in _images(root, name)]
        if not files:
            found = f"no images in its subfolders {first_few(names)}" if names else "no subfolders"
            raise DataError(
                f"{root} has {found}; expected images in root/class/image, with one of the "
                f"suffixes {', '.join(sorted(IMAGE_SUFFIXES))}."
            )
        empty = sorted(set(range(len(names))) - {label for _, label in files})
        if empty:
            warnings.warn(
                f"{len(empty)} of the {len(names)} subfolders of {root} hold no images; they still count as classes: "
                f"{first_few([names[label] for label in empty])}.",
                UnderfireWarning,
                stacklevel=2,
            )
        super().__init__(root.resolve().name, root, files, names)


class CsvData(_FileData):
    """Images and labels from a CSV file with a header. The CSV file lies in the images' folder or above it.

    Args:
        path: the CSV file, in UTF-8 and separated by commas. The image files, relative to the CSV's folder, are in the
            column ``file``, else ``filename``, ``path`` or ``image``. The classes are in the column ``label``, else
            ``class`` or ``target``: integers from 0, which are the labels, or names, which are numbered in sorted
            order. Other columns and blank lines are ignored. Image files are opened later, when they are read.

    Raises:
        DataError: the CSV file is missing, empty or malformed, or names a file twice or outside of its folder. The
            message gives the line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        files, names = read_labels_csv(self.path)
        super().__init__(self.path.stem, self.path.parent, files, names)


def class_folders(root: Path) -> tuple[str, ...]:
    """List the folders in ``root`` in the order of their labels, without names that begin with a dot."""
    try:
        return in_order(item.name for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error


def _images(root: Path, class_name: str) -> list[str]:
    """List the images below a class folder: POSIX paths relative to the root, sorted."""

    def refuse(error: OSError) -> None:  # os.walk would skip the folder silently
        raise DataError(f"{error.filename} cannot be listed: {error}") from error

    found = []
    for folder, subfolders, files in os.walk(root / class_name, onerror=refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES:
                found.append(path.relative_to(root).as_posix())
    return sorted(found)
