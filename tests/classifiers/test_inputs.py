"""Images and labels as users of other libraries hold them: taken if there is no doubt, or refused with a remedy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from underfire.classifiers import Classifier, check_images, check_labels
from underfire.errors import InputError

IMAGES = torch.linspace(0, 1, 2 * 3 * 4 * 5).view(2, 3, 4, 5)
LABELS = torch.tensor([2, 0])


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()))


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.numpy(),
        IMAGES.numpy()[..., ::-1],
        IMAGES.double(),
        IMAGES.numpy().astype("float64"),
        (IMAGES * 255).round().to(torch.uint8).numpy(),
        IMAGES.to(memory_format=torch.channels_last),
    ],
    ids=["NumPy", "negative strides", "float64", "NumPy float64", "NumPy uint8", "channels_last"],
)
def test_images_that_are_taken(classifier: Classifier, images: Any) -> None:
    checked = check_images(images, classifier)
    expected = IMAGES.flip(3) if isinstance(images, np.ndarray) and min(images.strides) < 0 else IMAGES
    assert torch.equal(checked, (expected * 255).round() / 255)


@pytest.mark.parametrize(
    ("images", "remedy"),
    [
        (IMAGES.permute(0, 2, 3, 1), r"images\.permute\(0, 3, 1, 2\)"),
        (IMAGES.permute(0, 2, 3, 1).numpy(), r"images\.permute\(0, 3, 1, 2\)"),
        (IMAGES[0], r"images\[None\]"),
        (IMAGES[0].permute(1, 2, 0), r"images\.permute\(2, 0, 1\)\[None\]"),
        (IMAGES[:, :1], r"images\.expand\(-1, 3, -1, -1\)"),
        (IMAGES.long(), r"images\.to\(torch\.uint8\)"),
        (IMAGES.to_sparse(), r"images\.to_dense\(\)"),
        (IMAGES.to("meta"), "meta tensor"),
        (list(IMAGES), r"torch\.stack\(images\)"),
        (IMAGES.numpy().astype("uint16").astype(object), r"astype\('float32'\)"),
        (IMAGES * 255, "divide them by 255"),
    ],
)
def test_images_that_are_refused_with_the_remedy(classifier: Classifier, images: Any, remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        check_images(images, classifier)


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0],
        LABELS.numpy().astype("int32"),
        LABELS[:, None],
        torch.eye(3)[LABELS],
        torch.eye(3, dtype=torch.int64)[LABELS],
        torch.eye(3, dtype=torch.bool)[LABELS],
        np.eye(3)[LABELS.numpy()],
    ],
)
def test_labels_that_are_taken(labels: Any) -> None:
    assert torch.equal(check_labels(labels, 2, 3), LABELS)


@pytest.mark.parametrize(
    ("labels", "remedy"),
    [
        (torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]), r"labels\.argmax\(1\)"),
        (torch.tensor([[1, 1, 0], [0, 0, 1]]), r"labels\.argmax\(1\)"),
        (torch.zeros(2, 3), r"labels\.argmax\(1\)"),
        (LABELS.float(), r"labels\.long\(\)"),
        (torch.eye(3), "expected 2 values"),
        (torch.eye(4)[[3, 0]], r"0\.\.3; the classifier has classes 0\.\.2"),
    ],
)
def test_labels_that_are_refused_with_the_remedy(labels: Any, remedy: str) -> None:
    with pytest.raises(InputError, match=remedy):
        check_labels(labels, 2, 3)
