"""Arrays in an ``.npz`` file: MedMNIST (``test_images``, ``test_labels``), and Keras' (``x_test``, ``y_test``).

MedMNIST: Yang et al. 2023, https://medmnist.com.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from underfire.data.arrays import array_data, chosen_split
from underfire.data.dataset import ImageData
from underfire.data.layouts.layout import Layout
from underfire.data.npy_header import check_header
from underfire.data.options import DataOptions
from underfire.errors import DataError

_PAIRS = (("{}_images", "{}_labels", "MedMNIST"), ("x_{}", "y_{}", "arrays in an .npz file"))
_SPLITS = ("train", "val", "test")


def _check_members(path: Path, names: Sequence[str]) -> None:
    """Raise ValueError if the header of an array claims more values than the file holds."""
    with zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(f"{name}.npy") as member:
                check_header(member, archive.getinfo(f"{name}.npy").file_size)


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if path.is_dir() or path.suffix.lower() != ".npz":
        return None
    try:
        with np.load(path) as content:
            for images, labels, name in _PAIRS:
                splits = [
                    split for split in _SPLITS if {images.format(split), labels.format(split)} <= {*content.files}
                ]
                if splits:
                    split = chosen_split(options.split, splits, path)
                    _check_members(path, (images.format(split), labels.format(split)))
                    return array_data(
                        path,
                        content[images.format(split)],
                        content[labels.format(split)],
                        name=f"{path.stem}-{split}",
                        layout=f"{name}, {split} images",
                    )
            found = content.files
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as an .npz file: {error}") from error
    raise DataError(
        f"{path} holds the arrays {', '.join(found) or '(none)'}; expected test_images and test_labels, or x_test and "
        "y_test (or the same with train or val)."
    )


LAYOUT = Layout("arrays in an .npz file", _open, ("split",))
