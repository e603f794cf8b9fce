"""Data sets of 8-bit images in NumPy arrays, as MNIST, CIFAR and MedMNIST come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from underfire.data.dataset import ImageData
from underfire.data.splits import named_split
from underfire.data.tensors import TensorData
from underfire.errors import DataError

DEFAULT_SPLIT = "test"
"""The split that is taken if the user names none: attacks are measured on images that the network has not seen."""


def array_data(
    where: Path, images: Any, labels: Any, *, name: str, layout: str, class_names: Sequence[str] | None = None
) -> ImageData:
    """Make a data set of arrays.

    Args:
        where: the file or folder, for messages.
        images: uint8 N x H x W, or N x H x W x C.
        labels: N integers, or N x 1.
        name: the name of the data set; an id is this name and the number of the image (``test/00012``).
        layout: the layout in words.
        class_names: one name per class, if they are known.

    Raises:
        DataError: the arrays have other types or shapes.
    """
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        volumes = " Volumes cannot be used; take slices of them." if images.ndim > 3 else ""
        raise DataError(
            f"the images of {where} are {images.dtype} of shape {images.shape}; expected uint8 N x H x W, or "
            f"N x H x W x 3.{volumes}"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        several = " Images of several classes cannot be used." if labels.ndim == 2 else ""
        raise DataError(
            f"the labels of {where} are {labels.dtype} of shape {labels.shape}; expected one integer for each of the "
            f"{len(images)} images.{several}"
        )
    pixels = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    ids = [f"{name}/{number:05d}" for number in range(len(images))]
    data = TensorData(pixels, torch.from_numpy(labels.astype(np.int64)), ids, class_names, name=name)
    data.layout = layout
    return data


def chosen_split(asked: str | None, names: Sequence[str], where: Path) -> str:
    """Return the split to take: the one that is asked for, or the test images. Raises InputError if it is not there."""
    return named_split(asked or (DEFAULT_SPLIT if len(names) > 1 else names[0]), names, str(where))
