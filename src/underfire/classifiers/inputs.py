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
    """Convert labels (a tensor, a NumPy array, a list) to a tensor. Raises InputError if they are no numbers."""
    try:
        return torch.as_tensor(labels).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is {labels!r:.80}; expected integer class indices, one per image.") from error


def check_images(images: Tensor, classifier: Classifier, name: str = "images") -> Tensor:
    """Check images N x C x H x W and return them as float32, rounded to multiples of 1/255. See ``check_pixels``."""
    return (check_pixels(images, classifier, name).float() * 255).round().clamp(0, 255) / 255


def check_pixels(images: Tensor, classifier: Classifier, name: str = "images") -> Tensor:
    """Check images N x C x H x W and return them detached; uint8 images are divided by 255.

    Args:
        images: a tensor, or a NumPy array of the same shape.
        classifier: the classifier that takes them.
        name: the argument's name, for error messages.

    Raises:
        InputError: the shape, the dtype or the range of the images is wrong; the message names the likely cause.
    """
    images = _as_tensor(images, name)
    channels = classifier.channels
    if images.ndim != 4 or images.shape[1] != channels or not images.numel():
        raise InputError(
            f"{name} has shape {tuple(images.shape)}; expected N x {channels} x H x W with N >= 1"
            f"{_shape_hint(tuple(images.shape), channels)}."
        )
    images = images.detach()
    if images.dtype == torch.uint8:
        return images.float() / 255
    if not images.is_floating_point():
        raise InputError(
            f"{name} has dtype {images.dtype}; expected a float tensor in [0, 1], or uint8. For 8-bit values: "
            f"{name}.to(torch.uint8)."
        )
    if not bool(torch.isfinite(images).all()):
        raise InputError(f"{name} contains NaN or infinite values; expected pixels in [0, 1].")
    low, high = float(images.min()), float(images.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        cause = (
            "they look like 8-bit values: divide them by 255"
            if low >= 0 and high <= 255
            else "it looks like they are already normalised: normalisation belongs inside the classifier, "
            "Classifier(..., mean=..., std=...)"
        )
        raise InputError(f"{name} range over [{low:.3g}, {high:.3g}]; pixels must be in [0, 1]: {cause}.")
    return images


def _as_tensor(images: Any, name: str) -> Tensor:
    """Return images as an ordinary tensor; a NumPy array becomes one. Raises InputError if they are something else."""
    if isinstance(images, np.ndarray):
        try:
            images = torch.from_numpy(np.ascontiguousarray(images))
        except TypeError as error:
            raise InputError(
                f"{name} is a NumPy array of {images.dtype}; expected floats in [0, 1], or uint8: "
                f"torch.from_numpy({name}.astype('float32'))."
            ) from error
    if not isinstance(images, Tensor):
        many = isinstance(images, list | tuple) and images and all(isinstance(each, Tensor) for each in images)
        hint = f" Use torch.stack({name}) for a list of tensors." if many else ""
        raise InputError(
            f"{name} is an object of type {type(images).__name__}; expected a tensor N x C x H x W with pixels in "
            f"[0, 1], or a NumPy array.{hint}"
        )
    if images.is_meta:
        raise InputError(f"{name} is a meta tensor, which has a shape but no values; expected an ordinary tensor.")
    if images.layout != torch.strided:
        raise InputError(f"{name} has layout {images.layout}; expected an ordinary tensor: {name}.to_dense().")
    return images


def _shape_hint(shape: tuple[int, ...], channels: int) -> str:
    """Return the call that mends the shape of images, if there is one."""
    if len(shape) == 4 and shape[3] == channels:
        return "; the channels are last: use images.permute(0, 3, 1, 2)"
    if len(shape) == 3 and shape[0] == channels:
        return "; it is one image: use images[None]"
    if len(shape) == 3 and shape[2] == channels:
        return "; it is one image with the channels last: use images.permute(2, 0, 1)[None]"
    if len(shape) == 3 and channels == 1:
        return "; the channels are missing: use images[:, None]"
    if len(shape) == 4 and channels == 3 and shape[1] == 1:
        return "; the images are grey: use images.expand(-1, 3, -1, -1)"
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
    """Check that there is one integer per image, and return them as int64.

    Args:
        labels: N integers; also N x 1, or one-hot N x K with a 1 for the class and a 0 for all others.
        count: the number of images N.
        name: the argument's name, for error messages.

    Raises:
        InputError: the shape or the dtype is wrong.
    """
    labels = label_tensor(labels, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    elif _is_one_hot(labels):
        labels = labels.long().argmax(1)
    if labels.ndim != 1 or len(labels) != count:
        hint = f" Use {name}.argmax(1) for one row of scores per image." if labels.ndim == 2 else ""
        raise InputError(f"{name} has shape {tuple(labels.shape)}; expected {count} values, one per image.{hint}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(
            f"{name} has dtype {labels.dtype}; expected integer class indices. For whole numbers: {name}.long()."
        )
    return labels.long()


def _is_one_hot(labels: Tensor) -> bool:
    """Return True for N x K labels, K > 1, with a single 1 in each row and 0 in all other places."""
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.is_complex():
        return False
    ones = labels == 1
    return bool((ones.sum(1) == 1).all()) and bool((ones | (labels == 0)).all())
