"""Relevance at products of two activations: it is shared, and does not double."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from underfire.interpreters.lrp import PixelRelevance

Gate = Callable[[Tensor, Tensor], Tensor]
TINY = 1e-9


def sums(network: nn.Module, interpreter: PixelRelevance) -> tuple[Tensor, Tensor]:
    """Compute the relevance of all pixels of each image, and the logits of their classes."""
    images, classes = torch.rand(4, 3, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 1])
    classifier = uf.Classifier(network.double().eval())
    logits = classifier.run(images).gather(1, classes[:, None])[:, 0].detach()
    return interpreter.relevance(classifier, images.requires_grad_(), classes).sum((1, 2, 3)).detach(), logits


def exact() -> list[PixelRelevance]:
    return [
        uf.interpreters.LRP(epsilon=TINY),
        uf.interpreters.AttnLRP(epsilon=TINY, gamma=0, conv_gamma=0),
        uf.interpreters.AttnLRP(epsilon=TINY),
    ]


def in_place(x: Tensor, g: Tensor) -> Tensor:
    x = x * 1
    x *= g.sigmoid()[:, :, None, None]
    return x


GATED: dict[str, Gate] = {
    "sigmoid": lambda x, g: x * g.sigmoid()[:, :, None, None],
    "sigmoid first": lambda x, g: torch.sigmoid(g).view(*g.shape, 1, 1) * x,
    "expanded": lambda x, g: torch.mul(x, g.sigmoid().unsqueeze(2).unsqueeze(3).expand_as(x)),
    "in place": in_place,
    "hard sigmoid": lambda x, g: x * F.hardsigmoid(g)[:, :, None, None],
    "twice the sigmoid": lambda x, g: x * (2 * g.sigmoid())[:, :, None, None],
    "written hard sigmoid": lambda x, g: x * (F.relu6(g + 3) / 6)[:, :, None, None],
    "clamped hard sigmoid": lambda x, g: (g / 6 + 0.5).clamp(0, 1)[:, :, None, None] * x,
    "half of the sigmoid": lambda x, g: x * (g.sigmoid() / 2)[:, :, None, None],
    "one and the sigmoid": lambda x, g: x * (1 + g.sigmoid())[:, :, None, None],
    "one less the sigmoid": lambda x, g: x * (1 - g.sigmoid())[:, :, None, None],
    "joined": lambda x, g: x * torch.cat([g[:, :3].sigmoid(), g[:, 3:].sigmoid()], 1)[:, :, None, None],
    "two gates": lambda x, g: x * (g.sigmoid() * g.flip(1).sigmoid())[:, :, None, None],
    "dropout": lambda x, g: x * F.dropout(g.sigmoid(), training=False).float().double()[:, :, None, None],
    "addcmul with a gate": lambda x, g: torch.addcmul(x, x, g.sigmoid()[:, :, None, None], value=0.5),
    "rectifier": lambda x, g: x * g.relu()[:, :, None, None],
    "written SiLU": lambda x, g: x * (1.702 * x).sigmoid(),
    "square": lambda x, g: x * x,
    "addcmul": lambda x, g: torch.addcmul(x, x, x.relu()),
    "glu": lambda x, g: F.glu(torch.cat([x, x.flip(1)], 1), 1),
    "gates that are divided": lambda x, g: x * (g.sigmoid() / g.sigmoid().sum(1, keepdim=True))[:, :, None, None],
    "map of places": lambda x, g: x * x.mean(1, keepdim=True).sigmoid(),
}


class Gated(nn.Module):
    """A convolution, squeeze and excitation by ``gate``, a shortcut around it, and a head; no biases."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate = gate
        self.first, self.second = nn.Conv2d(3, 6, 3, bias=False), nn.Conv2d(6, 6, 3, bias=False)
        self.squeeze, self.head = nn.Linear(6, 6, bias=False), nn.Linear(6, 3, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images).relu()
        x = x + self.gate(x, self.squeeze(x.mean((2, 3))))
        logits: Tensor = self.head(self.second(x).relu().mean((2, 3)))
        return logits


@pytest.mark.parametrize("name", GATED)
def test_relevance_adds_up_to_the_logit_with_gates(name: str) -> None:
    """Regression: both factors received all relevance, and it came to more than the logit."""
    for interpreter in exact():
        relevance, logits = sums(Gated(GATED[name]), interpreter)
        assert torch.allclose(relevance, logits, rtol=1e-5, atol=1e-7), interpreter


def test_a_gate_receives_nothing() -> None:
    """The gate is computed from the right half of the image, and the other factor from the left one."""

    class Halves(Gated):
        def forward(self, images: Tensor) -> Tensor:
            left, right = self.first(images[..., :4]), self.first(images[..., 4:])
            gate = self.squeeze(right.mean((2, 3))).sigmoid()
            logits: Tensor = self.head((left * gate[:, :, None, None]).mean((2, 3)))
            return logits

    network = Halves(in_place).double().eval()
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    for interpreter in exact():
        relevance = interpreter.relevance(uf.Classifier(network), images, torch.tensor([0, 1])).detach()
        assert float(relevance[..., :4].abs().sum()) > 0.01
        assert not relevance[..., 4:].any()


Products = Callable[[Tensor, Tensor], Tensor]
BILINEAR: dict[str, Products] = {
    "@": lambda a, b: a @ b.mT,
    "matmul": lambda a, b: torch.matmul(a, b.mT),
    "bmm": lambda a, b: torch.bmm(a, b.mT),
    "mm": lambda a, b: torch.stack([torch.mm(one, other.T) for one, other in zip(a, b, strict=True)]),
    "method mm": lambda a, b: torch.stack([one.mm(other.T) for one, other in zip(a, b, strict=True)]),
    "einsum": lambda a, b: torch.einsum("nic,njc->nij", a, b),
    "einsum of a list": lambda a, b: torch.einsum("nic,njc->nij", [a, b]),
    "baddbmm": lambda a, b: torch.baddbmm(a.new_zeros(1), a, b.mT, beta=0),
    "baddbmm with a shortcut": lambda a, b: torch.baddbmm(a, a, b.mT, alpha=0.5),
    "addmm": lambda a, b: torch.stack([torch.addmm(one, one, other.T) for one, other in zip(a, b, strict=True)]),
    "addbmm": lambda a, b: torch.stack([x.addbmm(x[None], y.T[None]) for x, y in zip(a, b, strict=True)]),
}


class Pairs(nn.Module):
    """Tokens, products of all pairs of them, and a head; no biases."""

    def __init__(self, product: Products) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.product = product
        self.tokens, self.head = nn.Conv2d(3, 4, 4, 4, bias=False), nn.Linear(4, 3, bias=False)
        self.query, self.key = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images).flatten(2).mT
        pairs = self.product(self.query(tokens), self.key(tokens))
        logits: Tensor = self.head(pairs.relu().mean(1))
        return logits


@pytest.mark.parametrize("name", BILINEAR)
def test_relevance_adds_up_to_the_logit_with_products_of_matrices(name: str) -> None:
    """Regression: ``mm``, ``addmm`` and ``baddbmm`` had no rule, and LRP had none for any product."""
    for interpreter in exact():
        relevance, logits = sums(Pairs(BILINEAR[name]), interpreter)
        assert torch.allclose(relevance, logits, rtol=1e-5, atol=1e-7), interpreter


@pytest.mark.parametrize("product", ["baddbmm", "einsum", "mm"])
def test_attention_is_the_same_however_its_products_are_written(product: str) -> None:
    class Attending(Pairs):
        def forward(self, images: Tensor) -> Tensor:
            tokens = self.tokens(images).flatten(2).mT
            matrix = self.product(self.query(tokens), self.key(tokens)).softmax(-1)
            logits: Tensor = self.head(self.product(matrix, tokens.mT.contiguous()).mean(1))
            return logits

    images, classes = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    for name in ("attnlrp", "chefer-lrp"):
        interpreter = uf.interpreters.create(name)
        one, other = (
            interpreter.maps(uf.Classifier(Attending(BILINEAR[key]).eval()), images, classes) for key in ("@", product)
        )
        assert torch.allclose(one, other, atol=1e-5)
