"""Networks that work in place have the maps of the same networks that do not."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images
from underfire.interpreters import LRP, AttnLRP, CheferLRP
from underfire.interpreters.chefer_lrp import CheferRules
from underfire.interpreters.lrp import PixelRelevance

INTERPRETERS = (LRP(), LRP("z+"), AttnLRP())
CLASSES = torch.tensor([0, 1, 2, 3])


def drawn(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Return a batch norm whose statistics and weights change its input a lot."""
    for values in (norm.running_mean, norm.bias.data):
        assert values is not None
        values.normal_()
    for values in (norm.running_var, norm.weight.data):
        assert values is not None
        values.uniform_(0.5, 2)
    return norm


class Between(nn.Module):
    """A network with something between a convolution and a batch norm, written in place or not."""

    def __init__(self, kind: str, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.in_place = kind, in_place
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.head = drawn(nn.BatchNorm2d(6)), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        before = self.first(x)
        out = self.second(before)
        if self.kind == "sum":
            if self.in_place:
                out += before
            else:
                out = out + before
        else:
            out = nn.functional.relu(out, inplace=self.in_place)
        result: Tensor = self.head(torch.relu(self.norm(out)).mean((2, 3)))
        return result


@pytest.mark.parametrize("interpreter", INTERPRETERS, ids=["epsilon", "z+", "attnlrp"])
@pytest.mark.parametrize("kind", ["sum", "relu"])
def test_a_batch_norm_is_not_folded_over_a_change_in_place(kind: str, interpreter: PixelRelevance) -> None:
    images = smooth_images(4)
    plain, in_place = (Between(kind, changes).eval() for changes in (False, True))
    with torch.no_grad(), interpreter.rules(None) as rules:
        logits = in_place(rules.follow(images))
    assert torch.allclose(logits, plain(images), atol=1e-5)
    expected, found = (interpreter.maps(uf.Classifier(net), images, CLASSES) for net in (plain, in_place))
    assert torch.allclose(found, expected, atol=1e-4)


class Gated(nn.Module):
    """A network that reads the input of an activation, too, after the activation may have changed it."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.activation, self.head = activation, nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.activation(x)
        result: Tensor = self.head(((x if self.activation.inplace else y) + self.second(y)).mean((2, 3)))
        return result


@pytest.mark.parametrize("interpreter", INTERPRETERS, ids=["epsilon", "z+", "attnlrp"])
@pytest.mark.parametrize("kind", [nn.SiLU, nn.Mish, nn.Hardswish])
def test_a_smooth_activation_in_place_changes_its_input(kind: type[nn.Module], interpreter: PixelRelevance) -> None:
    images = smooth_images(4)
    plain, in_place = (Gated(kind(inplace=changes)).eval() for changes in (False, True))
    with torch.no_grad(), interpreter.rules(None) as rules:
        logits = in_place(rules.follow(images))
    assert torch.allclose(logits, plain(images), atol=1e-5)
    expected, found = (interpreter.maps(uf.Classifier(net), images, CLASSES) for net in (plain, in_place))
    assert torch.allclose(found, expected, atol=1e-4)


class Joined(nn.Module):
    """A network that joins two tensors by a function, and reads the first of them again."""

    def __init__(self, join: Any, in_place: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.join, self.in_place = join, in_place
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        joined = self.join(x, self.second(x.clone()))
        result: Tensor = self.head((joined + (x if self.in_place else joined).square()).mean((2, 3)))
        return result


@pytest.mark.parametrize("interpreter", [AttnLRP(), CheferLRP()], ids=["attnlrp", "chefer_lrp"])
@pytest.mark.parametrize(
    ("join", "in_place"),
    [
        (torch.mul, operator.imul),
        (torch.mul, torch.Tensor.mul_),
        (torch.mul, torch.Tensor.multiply_),
        (torch.mul, torch.multiply),
        (torch.mul, torch.Tensor.multiply),
        (torch.add, operator.iadd),
        (torch.add, torch.Tensor.add_),
        (lambda x, _: x * x, lambda x, _: x.mul_(x)),
    ],
)
def test_sums_and_products_in_place_follow_their_rules(join: Any, in_place: Any, interpreter: Any) -> None:
    images = smooth_images(4)
    changes = in_place not in (torch.multiply, torch.Tensor.multiply)
    found = []
    for network in (Joined(join, False).eval(), Joined(in_place, changes).eval()):
        rules = AttnLRP().rules(None) if isinstance(interpreter, AttnLRP) else CheferRules(None)
        pixels = images.clone().requires_grad_()
        with rules:
            logits = network(rules.follow(pixels))
        with rules.propagating():
            (gradient,) = torch.autograd.grad(logits[:, 0].sum(), pixels)
        found.append((logits, gradient))
    assert torch.allclose(found[1][0], found[0][0], atol=1e-5)
    assert torch.allclose(found[1][1], found[0][1], rtol=1e-3, atol=1e-5)
