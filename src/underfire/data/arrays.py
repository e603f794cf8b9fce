"""Data sets of 8-bit images in NumPy arrays, as MNIST, CIFAR and MedMNIST come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from underfire.data.dataset import ImageData
from underfire.data.splits import named_split
from underfire.data.tensors import TensorData, pixel_id
from underfire.errors import DataError

OFF = 0.1
"""In levels: by how much floats may miss the levels of 8 bits that they were made from; half precision does by .06."""
DEFAULT_SPLIT = "test"
"""The split that is taken if the user names none: attacks are measured on images that the network has not seen."""


class _ArrayData(TensorData):
    """Images of an array as it is stored, which no caller has prepared: their levels tell them."""

    def content(self, index: int) -> str:
        return f"levels:{pixel_id(self._pixels[self._checked(index)])}"


def array_data(
    where: Path, images: Any, labels: Any, *, name: str, layout: str, class_names: Sequence[str] | None = None
) -> ImageData:
    """Make a data set of arrays.

    Args:
        where: the file or folder, for messages.
        images: N x H x W, N x H x W x C or N x C x H x W, with 1 or 3 channels. They are uint8, or whole numbers up to
            255 in any type, or floats in [0, 1], which are rounded to 8 bits.
        labels: N integers, or N x 1.
        name: the name of the data set; an id is this name and the number of the image (``test/00012``).
        layout: the layout in words.
        class_names: one name per class, if they are known.

    Raises:
        DataError: the arrays have other types or shapes.
    """
    images, rounded = _eight_bits(_channels_last(images))
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        volumes = " Volumes cannot be used; take slices of them." if images.ndim > 3 else ""
        values = f" from {images.min():.4g} to {images.max():.4g}" if images.size and images.dtype.kind in "iuf" else ""
        raise DataError(
            f"the images of {where} are {images.dtype}{values} of shape {images.shape}; expected uint8, or floats in "
            f"[0, 1], of shape N x H x W, N x H x W x 3 or N x 3 x H x W.{volumes}"
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
    data = _ArrayData(pixels, torch.from_numpy(labels.astype(np.int64)), ids, class_names, name=name)
    data.layout = f"{layout}, rounded to 8 bits" if rounded else layout
    return data


def _channels_last(images: Any) -> Any:
    """Turn N x C x H x W into N x H x W x C, where there is no doubt about it."""
    first = images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3)
    return images.transpose(0, 2, 3, 1) if first else images


def _eight_bits(images: Any) -> tuple[Any, bool]:
    """Turn floats in [0, 1] into uint8, and whole numbers up to 255 in any type; True if values were rounded."""
    if images.dtype == np.uint8 or images.dtype.kind not in "iuf" or not images.size:
        return images, False
    least, most = images.min(), images.max()
    if images.dtype.kind == "f" and least >= 0 and most <= 1:
        scaled = images.astype(np.float32) * 255
        levels = np.rint(scaled)
        return levels.astype(np.uint8), bool(np.abs(scaled - levels).max() > OFF)
    if least >= 0 and 1 < most <= 255 and (images.dtype.kind in "iu" or bool((images == np.rint(images)).all())):
        return images.astype(np.uint8), False
    return images, False


def chosen_split(asked: str | None, names: Sequence[str], where: Path) -> str:
    """Return the split to take: the one that is asked for, or the test images. Raises InputError if it is not there."""
    return named_split(asked or (DEFAULT_SPLIT if len(names) > 1 else names[0]), names, str(where))
