"""Checks of the images and labels that users give."""

from __future__ import annotations

from collections.abc import Sequence

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


def check_pixels(images: Tensor, classifier: Classifier) -> Tensor:
    """Check images N x C x H x W and return them detached; uint8 images are divided by 255.

    Raises:
        InputError: the shape, the dtype or the range of the images is wrong; the message names the likely cause.
    """
    if not isinstance(images, Tensor):
        raise InputError(
            f"images is an object of type {type(images).__name__}; expected a tensor N x C x H x W with pixels in "
            "[0, 1]."
        )
    if images.ndim != 4 or images.shape[1] != classifier.channels or not images.numel():
        raise InputError(
            f"images has shape {tuple(images.shape)}; expected N x {classifier.channels} x H x W with N >= 1."
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
        name: the argument's name, for error messages.

    Raises:
        InputError: the shape or the dtype is wrong.
    """
    labels = label_tensor(labels, name)
    if labels.ndim != 1 or len(labels) != count:
        raise InputError(f"{name} has shape {tuple(labels.shape)}; expected {count} values, one per image.")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputError(f"{name} has dtype {labels.dtype}; expected integer class indices.")
    return labels.long()
