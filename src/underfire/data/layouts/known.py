"""The registry of layouts. A new one is one file and one line here."""

from __future__ import annotations

from pathlib import Path

from underfire.data.dataset import ImageData
from underfire.data.layouts import (
    cifar,
    class_folders,
    imagenet_devkit,
    mnist,
    npz,
    parquet_shards,
    saved_to_disk,
    table_folder,
)
from underfire.data.layouts.layout import Layout
from underfire.data.options import DataOptions
from underfire.errors import InputError

LAYOUTS: tuple[Layout, ...] = (
    npz.LAYOUT,
    saved_to_disk.LAYOUT,
    mnist.LAYOUT,
    cifar.LAYOUT,
    imagenet_devkit.LAYOUT,
    parquet_shards.LAYOUT,
    table_folder.LAYOUT,
    class_folders.LAYOUT,
)
"""All layouts, in the order in which they are tried: those with the most particular files first."""


def open_path(path: Path, options: DataOptions) -> ImageData | None:
    """Open a folder or a file in the first layout that fits; None if no layout fits.

    Raises:
        InputError: an option is given that has no meaning in this layout.
        DataError: the layout fits, but the data cannot be used.
    """
    for layout in LAYOUTS:
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
