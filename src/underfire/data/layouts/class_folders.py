"""A folder with one subfolder of images per class."""

from __future__ import annotations

from pathlib import Path

from underfire.data.dataset import ImageData
from underfire.data.folder import FolderData
from underfire.data.layouts.layout import Layout
from underfire.data.layouts.tables import lacks_labels, tables_in
from underfire.data.options import DataOptions
from underfire.data.places import subfolders
from underfire.errors import warn


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if not path.is_dir() or not subfolders(path):
        return None
    if options.class_level is None:
        for name in filter(lambda name: lacks_labels(path / name), tables_in(path)):
            warn(
                f"{path / name} names images, but has no column of classes with a usual name, so that only folders may "
                "be the classes. If a column has them: --label-column NAME (and --file-column NAME)."
            )
    return FolderData(path, options.class_level)


LAYOUT = Layout("a folder per class", _open, ("class_level", "white"))
