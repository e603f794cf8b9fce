"""Batch norms are folded into convolutions that compute what torch's do, and into no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import underfire as uf
from tests.conftest import smooth_images


class Standardised(nn.Conv2d):
    """A convolution with weight standardisation."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


class Inner(nn.Conv2d):
    """A convolution that changes its weights in an inner method."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight * weight, bias)


class Activated(nn.BatchNorm2d):
    """A batch norm with its activation."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.relu(super().forward(input))


class Read(nn.BatchNorm2d):
    """A batch norm that the network reads a value of."""

    factor = 1.0


class Reads(nn.Sequential):
    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = super().forward(input) * self[1].factor
        return result


def network(convolution: nn.Module, norm: nn.Module, kind: type[nn.Sequential] = nn.Sequential) -> nn.Module:
    """Make a network with a convolution and a batch norm that does nothing yet, as in an untrained network."""
    head = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)]
    return kind(convolution, norm, *head).eval()


def convolution(kind: type[nn.Conv2d] = nn.Conv2d) -> nn.Conv2d:
    torch.manual_seed(0)
    return kind(3, 8, 3, padding=1)


def pruned() -> nn.Conv2d:
    made = convolution()
    prune.l1_unstructured(made, "weight", 0.5)  # type: ignore[no-untyped-call]  # untyped in torch
    return made


def hooked() -> nn.Conv2d:
    made = convolution()
    made.register_forward_hook(lambda _part, _given, output: 2 * output)
    return made


def changed(net: Any) -> None:
    """Give the batch norm values that do something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for values in (net[1].running_mean, net[1].bias):
            values.normal_()
        for values in (net[1].running_var, net[1].weight):
            values.uniform_(0.2, 2)


@pytest.mark.parametrize(
    ("make", "norm"),
    [
        (lambda: convolution(Standardised), nn.BatchNorm2d),
        (lambda: convolution(Inner), nn.BatchNorm2d),
        (convolution, Activated),
        (lambda: spectral_norm(convolution()), nn.BatchNorm2d),
        (lambda: weight_norm(convolution()), nn.BatchNorm2d),
        (lambda: parametrizations.weight_norm(convolution()), nn.BatchNorm2d),
        (pruned, nn.BatchNorm2d),
        (hooked, nn.BatchNorm2d),
    ],
    ids=["standardised", "inner", "activated", "spectral", "weight", "parametrised", "pruned", "hooked"],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_what_is_not_plain_is_not_folded(make: Any, norm: type[nn.BatchNorm2d]) -> None:
    net, images = network(make(), norm(8)), smooth_images(4)
    classifier = uf.Classifier(net.requires_grad_(False))
    prepared = classifier.prepare()
    changed(net)
    prepared.refresh_from(net)
    expected = classifier.logits(images)
    assert torch.allclose(prepared.run(images), expected, atol=1e-5)
    assert torch.allclose(classifier.prepare().run(images), expected, atol=1e-5)


def test_a_fold_that_breaks_the_pass_is_undone() -> None:
    net, images = network(convolution(), Read(8), Reads), smooth_images(4)
    changed(net)
    classifier = uf.Classifier(net)
    assert torch.allclose(classifier.prepare().run(images), classifier.logits(images), atol=1e-5)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = convolution()

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.convolution(images)
        return result


@pytest.mark.parametrize(("features", "folded"), [("0.convolution", 0), ("0", 0), ("1", 1), ("2", 1), (None, 1)])
def test_named_features_stay_what_they_are(features: str | None, folded: int) -> None:
    net, images = network(Block(), nn.BatchNorm2d(8)), smooth_images(4)
    changed(net)
    classifier = uf.Classifier(net, features=features)
    prepared = classifier.prepare()
    assert sum(isinstance(part, nn.Identity) for part in prepared.modules()) == folded
    with torch.no_grad():
        expected, found = classifier.record(images).features, prepared.record(images).features
    assert found is not None
    assert expected is not None
    assert torch.allclose(found, expected, atol=1e-5)
