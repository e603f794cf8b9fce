"""Wrong arguments of a classifier, and images that it cannot classify, are refused with a message that says why."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire.errors import InputError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": 0.5, "std": 0.5}, "mean is 0.5; expected 3 numbers, one per channel"),
        ({"mean": (0.5,) * 3, "std": (0.5, float("nan"), 0.5)}, "std is .*nan.*expected 3 numbers"),
        ({"image_size": 32.5}, "image_size is 32.5; expected a positive whole number"),
        ({"image_size": (32, 0)}, "image_size is .*expected a positive whole number"),
        ({"image_size": (32, 32, 3)}, "image_size is .*expected a positive whole number"),
    ],
)
def test_values_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        uf.Classifier(tiny_network(), **values)


WRONG: dict[str, tuple[object, str]] = {
    "class_names": ("classes.txt", "class_names is 'classes.txt'; expected a list of names, one per logit"),
    "class_names (mapping)": ({0: "cat", 1: "dog"}, r"expected a list of names, .* list\(names.values\(\)\)"),
    "class_names (number)": (10, "class_names is 10; expected a list of names"),
    "features": (7, "features is an object of type int; expected the name of a module"),
    "resizing": ("bilinear", "resizing is 'bilinear'; expected a Resizing"),
}


@pytest.mark.parametrize("name", WRONG)
def test_arguments_of_another_type(name: str) -> None:
    value, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        uf.Classifier(tiny_network(), **{name.partition(" ")[0]: value})


@pytest.mark.parametrize("mean", [["0.5"], [None], [10**400], torch.tensor(0.5), {0: 0.5}, (value for value in [0.5])])
def test_means_that_are_no_numbers(mean: Any) -> None:
    with pytest.raises(InputError, match=r"mean is .*; expected 1 numbers, one per channel"):
        uf.Classifier(tiny_network(), channels=1, mean=mean, std=[0.5])


def test_logits_of_what_is_no_batch_of_pixels() -> None:
    classifier, images = uf.Classifier(tiny_network()), smooth_images(2)
    wrong = {
        "torch.uint8 (2, 3, 16, 16)": (images * 255).byte(),
        "ndarray": images.numpy(),
        "torch.float32 (0, 3, 16, 16)": images[:0],
        "torch.float32 (3, 16, 16)": images[0],
    }
    for given, value in wrong.items():
        with pytest.raises(InputError, match=rf"images is {re.escape(given)}; expected a .* images.float\(\) / 255"):
            classifier.logits(value)
    with pytest.raises(InputError, match="batch_size is 0; expected at least 1"):
        classifier.logits(images, batch_size=0)
