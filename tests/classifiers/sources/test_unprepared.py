"""A network in an unusual style gives the same results as an equivalent one in the plainest style."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images

SIZE = (37, 53)


class Lambda(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values)


class Wild(nn.Module):
    """One ReLU module for all, functional and in-place ones, a lambda as shortcut, a functional head."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.c, self.d = nn.Conv2d(16, 16, 3, padding=1), nn.Linear(16, 5)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = Lambda(lambda v: F.pad(v[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))

    def forward(self, images: Tensor) -> Tensor:
        first = self.relu(self.a(images))
        second = self.norm(self.b(first)).relu_() + self.shortcut(first)
        third = F.relu(self.c(second), inplace=True) + second
        return F.linear(torch.mean(self.relu(third), (2, 3)), self.d.weight, self.d.bias)


class Plain(nn.Module):
    """The same function, every activation a module of its own, nothing in place."""

    def __init__(self, wild: Wild) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.norm = wild.a, wild.b, wild.c, wild.d, wild.norm
        self.relu1, self.relu2, self.relu3, self.relu4 = nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.relu1(self.a(images))
        zeros = first.new_zeros(len(first), 4, *first[0, 0, ::2, ::2].shape)
        second = self.relu2(self.norm(self.b(first))) + torch.cat([zeros, first[:, :, ::2, ::2], zeros], 1)
        third = self.relu3(self.c(second)) + second
        return self.d(self.pool(self.relu4(third)).flatten(1))


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    wild = Wild()
    for _ in range(20):
        wild(torch.rand(8, 3, *SIZE))
    wild.eval()
    with torch.no_grad():
        wild.d.weight.mul_(8)
    return wild, Plain(wild).eval()


@pytest.mark.parametrize("interpreter", ["grad", "cam", "gradcam"])
def test_a_four_line_change_of_model(interpreter: str) -> None:
    images = F.interpolate(smooth_images(4, size=64), size=SIZE).mul(255).round().div(255)
    results = []
    for network in networks():
        classifier = uf.Classifier(network, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), image_size=SIZE)
        system = uf.System(classifier, uf.interpreters.create(interpreter))
        attack = uf.attacks.preset("adv2", eps=8 / 255, steps=(2, 3))
        results.append(attack(system, images, classifier.logits(images).argmax(1)))
    wild, plain = results
    assert torch.equal(wild.target, plain.target)
    assert torch.equal(wild.success, plain.success)
    assert torch.allclose(wild.maps[interpreter], plain.maps[interpreter], atol=1e-3)
    assert torch.allclose(wild.confidence, plain.confidence, atol=1e-3)
    # A step follows signs; where a gradient is zero up to rounding, two ways of writing a network may differ.
    same = (wild.adversarial == plain.adversarial).float().mean()
    assert float(same) > 0.99
    assert bool((wild.adversarial != images).any())
