"""Functions without a second derivative are named, also where torch would take their gradient for a constant."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import Squared
from underfire.errors import NoGradientError


class Squaring(nn.Module):
    """A convolution, pooling and a head, with squares after the pooling or at the end."""

    def __init__(self, where: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.where, self.square = where, Squared()
        self.convolution, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        pooled = self.convolution(images).relu().mean((2, 3))
        if self.where == "pooled":
            pooled = self.square(pooled)
        logits: Tensor = self.head(pooled)
        return logits if self.where == "pooled" else self.square(logits)


@pytest.mark.parametrize("where", ["pooled", "logits"])
@pytest.mark.parametrize("name", ["gradcam", "gradcam++", "layercam", "lrp", "attnlrp"])
def test_a_function_that_is_differentiated_once_is_named(name: str, where: str, images: Tensor) -> None:
    """Regression: in front of a linear head, its second derivative was left out of the attack without a word."""
    classifier = uf.Classifier(Squaring(where).eval())
    labels = classifier.logits(images).argmax(1)
    assert torch.isfinite(uf.interpreters.create(name).maps(classifier, images, labels)).all()
    with pytest.raises(NoGradientError, match=r"square \(Squared\) has no second derivative"):
        uf.attack(classifier, images, labels, "adv2", [name], steps=(1, 1))
