"""Networks that have run, and kept what they computed, can be copied."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images
from underfire.classifiers import copied


class Keeps(nn.Module):
    """A network that keeps its last features, alone and in a list."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)
        self.last: Tensor | None = None
        self.all: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.last = self.first(images).relu()
        self.all = [self.last]
        result: Tensor = self.head(self.last.mean((2, 3)))
        return result


def test_a_network_that_keeps_its_features_can_be_attacked_after_its_maps_were_read() -> None:
    network, images = Keeps().eval(), smooth_images(4)
    classifier = uf.Classifier(network)
    labels = classifier.logits(images).argmax(1)
    uf.interpreters.Grad().maps(classifier, images, labels)
    result = uf.attacks.preset("adv2", steps=(1, 1))(uf.System(classifier, uf.interpreters.GradCAM()), images, labels)
    assert result.adversarial.shape == images.shape


def test_captum_reads_a_network_that_keeps_its_features() -> None:
    pytest.importorskip("captum")
    network, images = Keeps().eval(), smooth_images(4)
    network(images)
    classes = torch.tensor([0, 1, 2, 3])
    assert uf.interpreters.create("captum:Saliency").maps(uf.Classifier(network), images, classes).shape == (4, 16, 16)


def test_what_a_copy_holds_is_no_part_of_a_graph() -> None:
    network = Keeps().eval()
    network(smooth_images(4))
    made = copied(network)
    assert made.last is not None
    assert network.last is not None
    assert made.last.grad_fn is None
    assert made.all[0] is made.last
    assert torch.equal(made.last, network.last)
    assert network.last.grad_fn is not None
