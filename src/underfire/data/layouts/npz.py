"""Arrays in an ``.npz`` file: MedMNIST (``test_images``, ``test_labels``), Keras' (``x_test``, ``y_test``), and pairs.

MedMNIST: Yang et al. 2023, https://medmnist.com.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from underfire.data.arrays import array_data, chosen_split
from underfire.data.dataset import ImageData
from underfire.data.layouts.layout import Layout
from underfire.data.npy_header import check_header
from underfire.data.options import DataOptions
from underfire.errors import DataError, UnderfireError

_PAIRS = (("{}_images", "{}_labels", "MedMNIST"), ("x_{}", "y_{}", "arrays in an .npz file"))
_WHOLE = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels"), ("data", "target"))
"""Names of images and labels in files without splits."""
_SPLITS = ("train", "val", "test")


def _check_members(path: Path, names: Sequence[str]) -> None:
    """Raise ValueError if the header of an array claims more values than the file holds."""
    with zipfile.ZipFile(path) as archive:
        for name in names:
            with archive.open(f"{name}.npy") as member:
                check_header(member, archive.getinfo(f"{name}.npy").file_size)


def _data(path: Path, content: Any, pair: tuple[str, str], name: str, layout: str) -> ImageData:
    """Make a data set of the arrays of images and of labels that ``pair`` names."""
    _check_members(path, pair)
    return array_data(path, content[pair[0]], content[pair[1]], name=name, layout=layout)


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if path.is_dir() or path.suffix.lower() != ".npz":
        return None
    try:
        with np.load(path) as content:
            found = content.files
            for images, labels, name in _PAIRS:
                splits = [split for split in _SPLITS if {images.format(split), labels.format(split)} <= {*found}]
                if splits:
                    split = chosen_split(options.split, splits, path)
                    pair = images.format(split), labels.format(split)
                    return _data(path, content, pair, f"{path.stem}-{split}", f"{name}, {split} images")
            for pair in _WHOLE:
                if {*pair} <= {*found}:
                    if options.split:
                        chosen_split(options.split, (), path)
                    return _data(path, content, pair, path.stem, "arrays in an .npz file")
    except UnderfireError:
        raise
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:  # KeyError: a member without .npy
        raise DataError(f"{path} cannot be read as an .npz file: {error}") from error
    raise DataError(
        f"{path} holds the arrays {', '.join(found) or '(none)'}; expected test_images and test_labels, or x_test and "
        "y_test (or the same with train or val), or images and labels."
    )


LAYOUT = Layout("arrays in an .npz file", _open, ("split",))
