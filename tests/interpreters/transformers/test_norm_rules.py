"""Relevance at norms: what they divide by counts as a constant, and none is lost."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.interpreters.transformers.tiny import EXACT, small
from underfire.interpreters import LRP, AttnLRP
from underfire.interpreters.norm_rules import PARTS


class Detached(nn.Module):
    """A norm whose divisor is cut from the graph, as its author would write it."""

    def __init__(self, axes: tuple[int, ...], groups: int, centred: bool) -> None:
        super().__init__()
        self.axes, self.groups, self.centred = axes, groups, centred

    def forward(self, x: Tensor) -> Tensor:
        grouped = x.reshape(len(x), self.groups, -1, *x.shape[2:])
        grouped = grouped - grouped.mean(self.axes, keepdim=True) if self.centred else grouped
        size = (grouped.square().mean(self.axes, keepdim=True) + 1e-5).sqrt()
        size = size if self.centred else grouped.norm(2, self.axes, keepdim=True)
        return (grouped / size.detach()).reshape(x.shape)


class Normalize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1)


NORMED = {
    "group": (nn.GroupNorm(2, 4), Detached((2, 3, 4), 2, True)),
    "one group": (nn.GroupNorm(1, 4), Detached((2, 3, 4), 1, True)),
    "instance": (nn.InstanceNorm2d(4), Detached((3, 4), 1, True)),
    "normalize": (Normalize(), Detached((2,), 1, False)),
}


@pytest.mark.parametrize("name", NORMED)
def test_the_divisor_of_a_norm_is_a_constant(name: str) -> None:
    """Without biases, AttnLRP with gamma 0 is value x gradient of the network whose divisors are cut from the graph."""
    norm, cut = NORMED[name]
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 2])
    network, replica = small(norm, nn.GELU()), small(cut, nn.GELU())
    logits = network.run(images).detach().gather(1, classes[:, None]).squeeze(1)
    assert torch.allclose(replica.run(images).detach().gather(1, classes[:, None]).squeeze(1), logits)
    found = AttnLRP("all", 0.0, 0.0, EXACT).relevance(network, images.clone().requires_grad_(), classes).detach()
    expected = AttnLRP("all", 0.0, 0.0, EXACT).relevance(replica, images.clone().requires_grad_(), classes).detach()
    assert torch.allclose(found, expected, atol=1e-9)
    assert torch.allclose(found.sum((1, 2, 3)), logits, rtol=1e-6), "none is lost"


@pytest.mark.parametrize("name", NORMED)
def test_lrp_loses_no_relevance_at_a_norm(name: str) -> None:
    """Regression: it handed on value x gradient, and a norm does not change with scale: next to nothing was left."""
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 2])
    network = small(NORMED[name][0], nn.ReLU())
    logits = network.run(images).detach().gather(1, classes[:, None]).squeeze(1)
    found = LRP("epsilon", EXACT).relevance(network, images.clone().requires_grad_(), classes).detach()
    assert torch.allclose(found.sum((1, 2, 3)), logits, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_rms_norm_of_small_values_in_half_precision(dtype: torch.dtype) -> None:
    """Regression: it was computed with the smallest difference of its own precision, and not with that of float32."""
    x = (0.01 * torch.randn(3, 4, generator=torch.Generator().manual_seed(0))).to(dtype)
    divided, factor = PARTS[F.rms_norm](x, (4,))
    assert torch.allclose(divided * factor, F.rms_norm(x.float(), (4,)), rtol=1e-4)


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.LayerNorm([4, 6, 6]), nn.InstanceNorm2d(4)], ids=str)
def test_sizes_of_half_precision_do_not_overflow(norm: nn.Module) -> None:
    """Regression: the squares of values above 256 are infinite in float16, so that no relevance came through."""
    network = small(norm, nn.ReLU()).module
    with torch.no_grad():
        network[0].weight.mul_(2000)
    images, maps = torch.rand(2, 1, 8, 8), []
    for dtype in (torch.float32, torch.float16):
        classifier = uf.Classifier(copy.deepcopy(network).to(dtype), image_size=8, channels=1)
        maps.append(LRP().maps(classifier, images, torch.tensor([0, 2])))
    assert float(maps[0].mean()) > 0.05
    assert torch.allclose(*maps, atol=0.05)


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (F.group_norm, (2, torch.randn(4), torch.zeros(4), 0.1)),
        (F.instance_norm, (None, None, torch.randn(4), torch.zeros(4), True, 0.1, 0.1)),
        (F.instance_norm, (torch.randn(4), torch.rand(4), torch.randn(4), torch.zeros(4), False, 0.1, 0.1)),
        (F.instance_norm, (torch.randn(4), torch.rand(4), None, None, False)),
        (F.layer_norm, ((5, 6), torch.randn(5, 6), None, 0.1)),
        (F.normalize, (1.0, 2)),
        (F.normalize, ()),
    ],
)
def test_the_parts_of_a_norm_are_a_product(function: Callable[..., Tensor], given: tuple[Any, ...]) -> None:
    x = torch.randn(3, 4, 5, 6)
    divided, factor = PARTS[function](x, *given)
    assert torch.allclose(divided * factor, function(x, *given), atol=1e-5)
