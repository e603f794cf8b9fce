"""The shipped networks against numbers of weights from their papers, and against their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import underfire as uf
from underfire.zoo.networks import DenseLayer, DenseNet, ResNet, Transition


def weights(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def test_resnet20_has_the_published_number_of_weights() -> None:
    """He et al. 2016, table 6: 0.27 million, here with projection shortcuts."""
    projections = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert weights(ResNet()) - projections == 269_722


def test_densenet_has_the_published_number_of_weights() -> None:
    """DenseNet-BC, 40 layers, growth 12 (Huang et al. 2017, section 3): two transitions halve 96 and 120 channels. Ours
    rounds 60 down to 56, and loses what 4 channels cost in the third block, the transition and the head."""
    published = 176_122
    last = 60 + 6 * 12
    lost = 4 * 120 + sum(2 * 4 + 4 * 48 for _ in range(6)) + 2 * 4 + 4 * 10
    assert weights(DenseNet((6, 6, 6), 12)) == published - lost
    assert last - 4 == DenseNet((6, 6, 6), 12).head.in_features


def test_a_dense_layer_keeps_what_it_was_given() -> None:
    torch.manual_seed(0)
    layer = DenseLayer(8, 4).eval()
    features = torch.randn(2, 8, 5, 5)
    out = layer(features)
    assert out.shape == (2, 12, 5, 5)
    assert torch.equal(out[:, :8], features)
    inner = layer.conv2(layer.bn2(layer.conv1(layer.bn1(features).relu())).relu())
    assert torch.allclose(out[:, 8:], inner)


def test_a_transition_averages_two_by_two() -> None:
    torch.manual_seed(0)
    transition = Transition(8, 4).eval()
    features = torch.randn(1, 8, 4, 4)
    inner = transition.conv(transition.bn(features).relu())
    expected = inner.view(1, 4, 2, 2, 2, 2).mean((3, 5))
    assert torch.allclose(transition(features), expected, atol=1e-6)


@pytest.mark.parametrize("network", [ResNet(stride=2), DenseNet((2, 3, 2), 8, stride=2)], ids=["resnet", "densenet"])
def test_a_strided_stem_takes_images_of_64(network: nn.Module) -> None:
    """64 x 64 images end in maps of 8 x 8, and CAM reproduces the logits."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64)
    maps = uf.interpreters.CAM().maps(uf.Classifier(network.eval()), images, torch.tensor([1, 2]))
    assert maps.shape == (2, 8, 8)


@pytest.mark.parametrize("growth", [8, 12, 16, 24])
def test_widths_are_multiples_of_eight(growth: int) -> None:
    """Only with such widths do results not depend on the batch; growth 12 gives multiples of 4 within blocks."""
    network = DenseNet((2, 4, 6), growth)
    assert all(m.conv.out_channels % 8 == 0 for m in network.modules() if isinstance(m, Transition))
    assert network.head.in_features % (8 if growth % 8 == 0 else 4) == 0
