"""Checks of the images and labels that users give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from underfire.classifiers.classifier import Classifier
from underfire.errors import InputError

TOLERANCE = 1e-6
"""The accepted distance of pixels from [0, 1]."""


def label_tensor(labels: Tensor | Sequence[int], name: str = "labels") -> Tensor:
    """Convert labels to a tensor. Raises InputError if they are no numbers."""
    try:
        return torch.as_tensor(labels).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is {labels!r:.80}; expected integer class indices, one per image.") from error


def check_images(images: Tensor, classifier: Classifier) -> Tensor:
    """Check images N x C x H x W and return them as float32, rounded to multiples of 1/255. Raises InputError."""
    return (check_pixels(images, classifier).float() * 255).round().clamp(0, 255) / 255


def check_pixels(images: Tensor | Any, classifier: Classifier) -> Tensor:
    """Check images N x C x H x W and return them detached; uint8 images are divided by 255.

    Args:
        images: a tensor, or a NumPy array.

    Raises:
        InputError: the shape, the dtype or the range of the images is wrong; the message names the likely cause.
    """
    if isinstance(images, np.ndarray) and images.dtype != np.object_:
        images = torch.as_tensor(images)
    if not isinstance(images, Tensor):
        raise InputError(
            f"images is an object of type {type(images).__name__}; expected a tensor N x C x H x W with pixels in "
            "[0, 1], such as torch.from_numpy(array) or torch.stack(list_of_tensors)."
        )
    if images.is_meta or images.layout is not torch.strided:
        kind = "has no values (device 'meta')" if images.is_meta else f"is sparse ({images.layout}): call to_dense()"
        raise InputError(f"images {kind}; expected a dense tensor N x C x H x W with pixels in [0, 1].")
    if images.ndim != 4 or images.shape[1] != classifier.channels or not images.numel():
        raise InputError(
            f"images has shape {tuple(images.shape)}; expected N x {classifier.channels} x H x W with N >= 1"
            f"{_remedy(images, classifier.channels)}."
        )
    images = images.detach()
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise InputError(f"images has dtype {images.dtype}; expected a float tensor in [0, 1], or uint8.")
    if not bool(torch.isfinite(images).all()):
        raise InputError("images contains NaN or infinite values; expected pixels in [0, 1].")
    low, high = float(images.min()), float(images.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        cause = (
            "they look like 8-bit values: divide them by 255"
            if low >= 0 and high <= 255
            else "it looks like they are already normalised: normalisation belongs inside the classifier, "
            "Classifier(..., mean=..., std=...)"
        )
        raise InputError(f"images range over [{low:.3g}, {high:.3g}]; pixels must be in [0, 1]: {cause}.")
    return images


def _remedy(images: Tensor, channels: int) -> str:
    """Return the call that gives ``images`` the expected shape, for messages; empty if none is known."""
    shape = tuple(images.shape)
    if len(shape) == 4 and shape[3] == channels:
        return ": images.permute(0, 3, 1, 2) puts the channels first"
    if len(shape) == 3 and channels in (shape[0], shape[2]):
        return ": one image has to be a batch, " + (
            "images.unsqueeze(0)" if shape[0] == channels else "images.permute(2, 0, 1).unsqueeze(0)"
        )
    if len(shape) == 3 and channels == 1:
        return ": images.unsqueeze(1) adds the channel"
    if len(shape) == 4 and images.numel():
        return f" (the classifier takes {channels} channels; Classifier(..., channels={shape[1]}) says otherwise)"
    return ""


def check_labels(labels: Tensor, count: int, classes: int) -> Tensor:
    """Check the labels of ``count`` images and return them as int64.

    Raises:
        InputError: they are not one integer in 0..``classes`` - 1 per image.
    """
    labels = one_per_image(labels, count)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        hint = " Labels that count from 1 must be lowered by 1." if low == 1 and high == classes else ""
        raise InputError(f"labels range over {low}..{high}; the classifier has classes 0..{classes - 1}.{hint}")
    return labels


def one_per_image(labels: Tensor | Sequence[int], count: int, name: str = "labels") -> Tensor:
    """Check that there is one integer per image, and return them as int64 N.

    Labels N x 1, and one-hot labels N x K, are converted.

    Args:
        name: the argument's name, for error messages.

    Raises:
        InputError: the shape or the dtype is wrong.
    """
    labels = label_tensor(labels, name)
    if labels.ndim == 2 and len(labels) == count:
        labels = _from_table(labels, name)
    if labels.ndim != 1 or len(labels) != count:
        raise InputError(f"{name} has shape {tuple(labels.shape)}; expected {count} values, one per image.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(
            f"{name} has dtype {labels.dtype}; expected integer class indices: {name}.long(), if they are whole."
        )
    return labels.long()


def _from_table(labels: Tensor, name: str) -> Tensor:
    """Convert labels N x 1, or one-hot labels N x K, to one value per image. Raises InputError for any other table."""
    if labels.shape[1] == 1:
        return labels[:, 0]
    if bool(((labels == 0) | (labels == 1)).all()) and bool((labels.sum(1) == 1).all()):
        return labels.to(torch.uint8).argmax(1)
    raise InputError(
        f"{name} has shape {tuple(labels.shape)}, and its rows are not one-hot; expected {len(labels)} integers, one "
        f"per image: {name}.argmax(1), if each row holds a score for each class."
    )
