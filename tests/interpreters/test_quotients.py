"""Relevance at quotients, powers and smooth activations that a network writes by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.interpreters.test_products import Gate, Gated, exact, sums

SLOPE = math.sqrt(2 / math.pi)
Activation = Callable[[Tensor], Tensor]

WRITTEN: dict[str, tuple[Activation, Activation]] = {
    "GPT-2's GELU": (
        lambda x: 0.5 * x * (1 + torch.tanh(SLOPE * (x + 0.044715 * x**3))),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "GELU of torch.pow": (
        lambda x: 0.5 * x * (1.0 + torch.tanh(SLOPE * (x + 0.044715 * torch.pow(x, 3.0)))),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "GELU of erf": (lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2))), F.gelu),
    "GELU of erf, gate first": (lambda x: torch.erf(x / math.sqrt(2)).add_(1).mul(0.5) * x, F.gelu),
    "GELU with a one that is a tensor": (
        lambda x: x * 0.5 * (torch.erf(x / math.sqrt(2)) + torch.tensor(1.0, dtype=x.dtype)),
        F.gelu,
    ),
    "GELU of erf and a tensor of one value": (
        lambda x: x * 0.5 * (torch.erf(x / math.sqrt(2)) + torch.ones(1, dtype=x.dtype)),
        F.gelu,
    ),
    "GELU of erfc": (lambda x: 0.5 * x * torch.erfc(-x / math.sqrt(2)), F.gelu),
    "GELU of erfc, gate first": (lambda x: 0.5 * torch.special.erfc(-x / math.sqrt(2)) * x, F.gelu),
    "GELU with a named operand": (lambda x: 0.5 * x * torch.add(torch.erf(x / math.sqrt(2)), other=1), F.gelu),
    "SiLU of tanh": (lambda x: x * (0.5 * torch.tanh(x * 0.5) + 0.5), F.silu),
    "SiLU": (lambda x: x * torch.sigmoid(x), F.silu),
    "SiLU of a quotient": (lambda x: x / (1 + torch.exp(-x)), F.silu),
    "Mish of log1p": (lambda x: x * torch.tanh(torch.log1p(torch.exp(x))), F.mish),
    "Mish of log": (lambda x: x * (1 + x.exp()).log().tanh(), F.mish),
    "Mish": (lambda x: x * torch.tanh(F.softplus(x)), F.mish),
}


class Smooth(nn.Module):
    """Two convolutions with any activation, and a head."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.activation = activation
        self.first, self.second, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.activation(self.second(self.activation(self.first(images))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


@pytest.mark.parametrize("name", WRITTEN)
def test_activations_that_are_written_by_hand_have_the_rule_of_those_of_torch(name: str) -> None:
    """Regression: relevance passed 1 + tanh and 1 + erf twice, and cubes thrice."""
    images, classes = torch.rand(4, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 1])
    for interpreter in [uf.interpreters.LRP(), uf.interpreters.LRP("z+"), uf.interpreters.AttnLRP()]:
        one, other = (
            interpreter.relevance(
                uf.Classifier(Smooth(how).double().eval()), images.clone().requires_grad_(), classes
            ).detach()
            for how in WRITTEN[name]
        )
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12), interpreter


def divided_in_place(x: Tensor) -> Tensor:
    x = x * 1
    x /= x.mean(1, keepdim=True) + 1
    return x


def raised_in_place(x: Tensor) -> Tensor:
    x = x * 1
    x **= 2
    return x.add_(0.1).sub_(0.1).square_()


def generalised_mean(x: Tensor) -> Tensor:
    return x.clamp_min(1e-9).pow(torch.tensor(3.0)).mean((2, 3), keepdim=True) ** (1 / 3)


def response(x: Tensor) -> Tensor:
    size = x.norm(dim=(2, 3), keepdim=True)
    return size / (size.mean(1, keepdim=True) + 1e-6)


def centred(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True)


QUOTIENTS: dict[str, Gate] = {
    "norm": lambda x, g: x / (x.norm(dim=1, keepdim=True) + 1e-6),
    "torch.div": lambda x, g: torch.div(x, x.norm(dim=1, keepdim=True) + 1e-6),
    "RMS norm": lambda x, g: x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6),
    "layer norm": lambda x, g: centred(x) / (centred(x).pow(2).mean(1, keepdim=True) + 1e-6).sqrt(),
    "response norm": lambda x, g: x * response(x),
    "another divisor": lambda x, g: x / (1 + g.abs())[:, :, None, None],
    "a vector is divided": lambda x, g: g[:, :, None, None] / (1 + x.abs()),
    "in place": lambda x, g: divided_in_place(x),
    "reciprocal": lambda x, g: x * (x.abs() + 1).reciprocal(),
    "one over": lambda x, g: (1 / (x.abs() + 1)) * x,
    "negative power": lambda x, g: x * (x.abs() + 1) ** -1,
    "gate over": lambda x, g: g.sigmoid()[:, :, None, None] * x / (x.mean(1, keepdim=True) + 1),
    "x ** 2": lambda x, g: x**2,
    "square": lambda x, g: x.square(),
    "power": lambda x, g: torch.pow(x, 3),
    "root": lambda x, g: x.sqrt(),
    "power in place": lambda x, g: raised_in_place(x),
    "generalised mean": lambda x, g: generalised_mean(x).expand_as(x),
}


@pytest.mark.parametrize("name", QUOTIENTS)
def test_relevance_adds_up_to_the_logit_with_quotients_and_powers(name: str) -> None:
    """Regression: the divisor received relevance, too, and the square twice its own."""
    for interpreter in exact():
        relevance, logits = sums(Gated(QUOTIENTS[name]), interpreter)
        assert torch.allclose(relevance, logits, rtol=1e-5, atol=1e-7), interpreter


@pytest.mark.parametrize("name", ["in place", "power in place", "root", "torch.div", "reciprocal"])
def test_rules_of_quotients_change_no_logit_and_no_usual_gradient(name: str) -> None:
    network, images = Gated(QUOTIENTS[name]).double().eval(), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    for interpreter in exact():
        gradients = []
        for rules in (None, interpreter.rules(None)):
            given = images.clone().requires_grad_()
            if rules is None:
                logits = network(given)
            else:
                with rules:
                    logits = network(rules.follow(given))
            gradients.append((logits.detach(), torch.autograd.grad(logits[:, 1].sum(), given)[0]))
        for one, other in zip(*gradients, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)
