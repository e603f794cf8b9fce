"""A folder with one subfolder of images per class."""

from __future__ import annotations

from pathlib import Path

from underfire.data.dataset import ImageData
from underfire.data.folder import FolderData
from underfire.data.layouts.layout import Layout
from underfire.data.options import DataOptions
from underfire.data.places import subfolders


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if not path.is_dir() or not subfolders(path):
        return None
    return FolderData(path, options.class_level)


LAYOUT = Layout("a folder per class", _open, ("class_level", "white"))
