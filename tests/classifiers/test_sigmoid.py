"""A network that ends in a sigmoid is refused; one whose logits happen to lie in [0, 1] is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire.attacks.benign import honest_logits
from underfire.errors import ClassifierError


class Ends(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor], classes: int = 4) -> None:
        super().__init__()
        self.network, self.end = tiny_network(classes=classes), end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.network(images))


@pytest.mark.parametrize("end", [torch.sigmoid, Tensor.sigmoid, nn.Sigmoid(), F.sigmoid, lambda v: v.sigmoid_()])
@pytest.mark.parametrize("classes", [1, 4])
def test_every_spelling(end: Callable[[Tensor], Tensor], classes: int) -> None:
    with pytest.raises(ClassifierError, match=r"comes out of a sigmoid.*multi-label"):
        honest_logits(uf.Classifier(Ends(end, classes)), smooth_images(8))


@pytest.mark.parametrize("end", [lambda v: v.relu() / 100, lambda v: v.clamp(0, 1), lambda v: v * v.sigmoid()])
def test_others_are_left_alone(end: Callable[[Tensor], Tensor]) -> None:
    assert honest_logits(uf.Classifier(Ends(end)), smooth_images(8)).shape == (8, 4)
