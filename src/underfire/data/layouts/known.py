"""The registry of layouts. A new one is one file and one line here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from underfire.data.dataset import ImageData
from underfire.data.folder import FolderData
from underfire.data.layouts import (
    cifar,
    class_folders,
    image_lists,
    imagenet_devkit,
    imagenet_kaggle,
    mnist,
    npz,
    parquet_shards,
    saved_to_disk,
    table_folder,
)
from underfire.data.layouts.layout import Layout
from underfire.data.options import DataOptions
from underfire.data.places import subfolders
from underfire.data.splits import named_split
from underfire.errors import InputError

LAYOUTS: tuple[Layout, ...] = (
    npz.LAYOUT,
    saved_to_disk.LAYOUT,
    mnist.LAYOUT,
    cifar.LAYOUT,
    image_lists.LAYOUT,
    imagenet_devkit.LAYOUT,
    imagenet_kaggle.LAYOUT,
    parquet_shards.LAYOUT,
    table_folder.LAYOUT,
    class_folders.LAYOUT,
)
"""All layouts, in the order in which they are tried: those with the most particular files first."""


def open_path(path: Path, options: DataOptions) -> ImageData | None:
    """Open a folder or a file in the first layout that fits; None if no layout fits.

    If a split is asked for, and the folder itself holds no data with splits, its subfolder of the split is opened.

    Raises:
        InputError: an option is given that has no meaning in this layout.
        DataError: the layout fits, but the data cannot be used.
    """
    for layout in LAYOUTS:
        if layout is class_folders.LAYOUT and options.split is not None and path.is_dir() and subfolders(path):
            part = path / named_split(options.split, subfolders(path), str(path))
            return open_path(part, replace(options, split=None)) or FolderData(part)
        data = layout.open(path, options)
        if data is not None:
            useless = [name for name in options.given() if name not in layout.options]
            if useless:
                raise InputError(
                    f"{useless[0]} is {getattr(options, useless[0])!r}, but {path} is {data.layout or layout.name}, "
                    "where that means nothing; leave it out."
                )
            data.white = options.white
            data.layout = data.layout or layout.name
            return data
    return None
