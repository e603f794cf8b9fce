"""A network with a single logit counts as one of two classes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import tiny_network


def test_a_single_logit_counts_as_two_classes(images: Tensor) -> None:
    network = tiny_network(classes=1)
    logits = uf.Classifier(network).logits(images)
    assert logits.shape == (6, 2)
    assert torch.allclose(logits.softmax(1)[:, 1], network(images).sigmoid().squeeze(1), atol=1e-6)


def test_a_single_logit_has_cams(images: Tensor) -> None:
    network = tiny_network(classes=1)
    classifier = uf.Classifier(network)
    for_class_1 = uf.interpreters.CAM().maps(classifier, images, torch.ones(6, dtype=torch.int64))
    features = torch.relu(network.second(torch.relu(network.norm(network.first(images)))))
    raw = torch.einsum("c,nchw->nhw", network.head.weight[0], features)
    low, high = raw.amin((1, 2), keepdim=True), raw.amax((1, 2), keepdim=True)
    assert torch.allclose(for_class_1, (raw - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize("interpreter", ["grad", "cam", "gradcam", "gradcam++", "layercam", "lrp", "lrp:z+", "attnlrp"])
def test_both_classes_have_the_maps_of_two_logits_of_half_the_size(interpreter: str, images: Tensor) -> None:
    one, two = tiny_network(classes=1), tiny_network(classes=1)
    head = nn.Linear(one.head.in_features, 2)
    with torch.no_grad():
        head.weight.copy_(torch.cat([-one.head.weight, one.head.weight]) / 2)
        head.bias.copy_(torch.cat([-one.head.bias, one.head.bias]) / 2)
    two.head = head
    for number in (0, 1):
        classes = torch.full((len(images),), number)
        found, expected = (
            uf.interpreters.create(interpreter).maps(uf.Classifier(network), images, classes) for network in (one, two)
        )
        assert bool((expected.amax((1, 2)) > 0).all()) or interpreter not in ("cam", "grad", "lrp")
        assert torch.allclose(found, expected, atol=1e-3)
