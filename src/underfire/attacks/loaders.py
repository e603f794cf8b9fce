"""Images and labels from torch's ``DataLoader`` and ``Dataset``, as one tensor each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from underfire.arguments import whole_number
from underfire.classifiers import Classifier, check_images, one_per_image
from underfire.data import ImageData
from underfire.errors import InputError, warn
from underfire.text import first_few

Images = Tensor | DataLoader[Any] | Dataset[Any]
"""The images of a call: a tensor N x C x H x W, or a loader or data set that brings the labels, too."""

IMAGE_NAMES = ("image", "images", "pixel_values", "img", "imgs", "x", "input", "inputs")
LABEL_NAMES = ("label", "labels", "target", "targets", "y", "class", "classes")
"""The usual names in batches that are dicts."""

ITEMS_AT_ONCE = 32
"""Items of a ``Dataset`` that are read at once."""

_PAIR = "Give the DataLoader collate_fn=..., a function that makes (images, labels) of a list of items."


def images_and_labels(
    source: Images, labels: Tensor | Sequence[int] | None, classifier: Classifier, count: int | None = None
) -> tuple[Tensor, Tensor | Sequence[int]]:
    """Return the images and labels of a call: as they are given, or collected from a loader.

    Args:
        source: a tensor; or a ``DataLoader`` or ``Dataset`` of (images, labels), or of dicts with the usual names.
        labels: N integers for a tensor; None for a loader.
        classifier: the classifier that takes the images.
        count: the largest number of images to take from a loader; all if None.

    Returns:
        A tensor as it is. From a loader: uint8 N x C x H x W on the CPU, which is a quarter of the memory of floats,
        and int64 N.

    Raises:
        InputError: labels are missing, or given twice; or the loader has none, other, or different images.
    """
    if isinstance(source, ImageData):
        raise InputError(
            f"images is the data set {source.name!r}; expected its pixels: batch = data.load(classifier.image_size, "
            "resizing=classifier.resizing), then batch.images and batch.labels."
        )
    if not isinstance(source, DataLoader | Dataset):
        if labels is None:
            raise InputError("labels is missing; expected one integer per image, or a DataLoader instead of images.")
        if count is not None:
            raise InputError(f"count is {count}, and images is no DataLoader: use images[:{count}], labels[:{count}].")
        return source, labels
    check_no_labels(source, labels)
    if count is not None:
        count = whole_number("count", count, 1, ", or None for all images")
    loader = source if isinstance(source, DataLoader) else DataLoader(source, ITEMS_AT_ONCE)
    if count is not None and isinstance(loader.sampler, RandomSampler):
        warn(f"count is {count}, and the loader shuffles: every call attacks other images. Use shuffle=False.")
    return _collected(loader, classifier, count)


def check_no_labels(source: Images, labels: Any) -> None:
    """Raise InputError if labels are given beside a loader, which brings its own."""
    if isinstance(source, DataLoader | Dataset) and labels is not None:
        raise InputError(
            f"labels is {labels!r:.40}, and a {type(source).__name__} brings its own labels. Name the other arguments: "
            "attack(model, loader, attack='advedge')."
        )


def _collected(loader: DataLoader[Any], classifier: Classifier, count: int | None) -> tuple[Tensor, Tensor]:
    images: list[Tensor] = []
    labels: list[Tensor] = []
    left = count
    for number, batch in enumerate(_batches(loader)):
        try:
            some, classes = _checked(batch, classifier)
        except InputError as error:
            raise InputError(f"batch {number} of the loader: {error}") from error
        if images and some.shape[1:] != images[0].shape[1:]:
            raise InputError(
                f"batch {number} of the loader has images of {tuple(some.shape[1:])}, and batch 0 of "
                f"{tuple(images[0].shape[1:])}; expected one size. Resize and crop them in the data set's transform."
            )
        images.append(some[:left])
        labels.append(classes[:left])
        if left is not None:
            left -= len(images[-1])
            if left == 0:
                break
    if not images:
        raise InputError("the loader is empty; expected at least one batch of images and labels.")
    return torch.cat(images), torch.cat(labels)


def _batches(loader: DataLoader[Any]) -> Iterator[Any]:
    """Yield the batches. Raises InputError if the data set or its collation raises an error."""
    try:
        yield from loader
    except Exception as error:  # the data set is the user's own, and may raise anything
        raise InputError(
            f"the loader cannot be read: {type(error).__name__}: {error}. If its items are PIL images, give the data "
            "set transform=torchvision.transforms.ToTensor()."
        ) from error


def _checked(batch: Any, classifier: Classifier) -> tuple[Tensor, Tensor]:
    """Return the images of a batch as uint8, and its labels as int64."""
    if isinstance(batch, Mapping):
        images, labels = _named(batch, IMAGE_NAMES, "images"), _named(batch, LABEL_NAMES, "labels")
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        images, labels = batch
    else:
        what = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"an object of type {type(batch).__name__}"
        raise InputError(f"it is {what}; expected (images, labels), or a dict. {_PAIR}")
    levels = (check_images(images, classifier) * 255).round().to("cpu", torch.uint8)
    return levels, one_per_image(labels, len(levels)).cpu()


def _named(batch: Mapping[str, Any], names: Sequence[str], what: str) -> Any:
    found = [name for name in names if name in batch]
    if len(found) != 1:
        several = f"several {what} ({', '.join(found)})" if found else f"no {what}"
        raise InputError(
            f"it has {several}; its names are {first_few(list(batch), 8)}; expected one of {', '.join(names)}. {_PAIR}"
        )
    return batch[found[0]]
