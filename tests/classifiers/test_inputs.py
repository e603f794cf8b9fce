"""Images and labels as users of other libraries hold them: taken where there is no doubt, or refused with the call that
mends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from underfire.classifiers import check_labels, check_pixels
from underfire.errors import InputError

LABELS: dict[str, Callable[[Tensor], Any]] = {
    "N x 1": lambda labels: labels[:, None],
    "one-hot": lambda labels: torch.eye(4)[labels],
    "one-hot bool": lambda labels: torch.eye(4, dtype=torch.bool)[labels],
    "NumPy": lambda labels: labels.numpy().astype("int32"),
    "NumPy one-hot": lambda labels: np.eye(4)[labels.numpy()],
    "list": lambda labels: labels.tolist(),
}


@pytest.mark.parametrize("form", LABELS)
def test_labels_in_another_form(classifier: uf.Classifier, images: Tensor, labels: Tensor, form: str) -> None:
    attack, system = uf.attacks.preset("adv2", eps=8 / 255, steps=(1, 2)), uf.System(classifier, uf.interpreters.CAM())
    expected, found = attack(system, images, labels), attack(system, images, LABELS[form](labels))
    assert torch.equal(expected.adversarial, found.adversarial)


def test_labels_in_doubt() -> None:
    with pytest.raises(InputError, match=r"its rows are not one-hot; expected 2 integers, .*: labels.argmax\(1\)"):
        check_labels(torch.tensor([[0.2, 0.8], [0.5, 0.5]]), 2, 2)
    with pytest.raises(InputError, match=r"dtype torch.float32; expected integer class indices: labels.long\(\)"):
        check_labels(torch.tensor([0.0, 1.0]), 2, 2)
    with pytest.raises(InputError, match="expected 3 values, one per image"):
        check_labels(torch.eye(2), 3, 2)


def test_numpy_images(classifier: uf.Classifier, images: Tensor) -> None:
    assert torch.equal(check_pixels(images.numpy(), classifier), images)
    assert torch.equal(check_pixels((images * 255).numpy().astype("uint8"), classifier) * 255, (images * 255).floor())


IMAGES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "N x H x W x C": (
        lambda images: images.permute(0, 2, 3, 1),
        r"images.permute\(0, 3, 1, 2\) puts the channels first",
    ),
    "C x H x W": (lambda images: images[0], r"one image has to be a batch, images.unsqueeze\(0\)"),
    "H x W x C": (lambda images: images[0].permute(1, 2, 0), r"images.permute\(2, 0, 1\).unsqueeze\(0\)"),
    "other channels": (lambda images: images[:, :2], r"takes 3 channels; Classifier\(\.\.\., channels=2\)"),
    "list": (list, r"object of type list; .*torch.stack\(list_of_tensors\)"),
    "objects": (lambda images: np.array(["a"], dtype=object), r"object of type ndarray; expected a tensor"),
    "sparse": (lambda images: images.to_sparse(), r"images is sparse \(torch.sparse_coo\): call to_dense\(\)"),
    "meta": (lambda images: images.to("meta"), r"images has no values \(device 'meta'\)"),
}


@pytest.mark.parametrize("form", IMAGES)
def test_images_in_doubt(classifier: uf.Classifier, images: Tensor, form: str) -> None:
    change, said = IMAGES[form]
    with pytest.raises(InputError, match=said):
        check_pixels(change(images), classifier)


def test_grey_images_without_a_channel() -> None:
    grey = uf.Classifier(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)))
    with pytest.raises(InputError, match=r"images.unsqueeze\(1\) adds the channel"):
        check_pixels(torch.rand(4, 8, 8), grey)
