"""AttnLRP against a replica that hands relevance from layer to layer by the paper's formulas, and its conservation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.conftest import tiny_network
from tests.interpreters.transformers.tiny import (
    EXACT,
    HEADS,
    PATCH,
    SIDE,
    STYLES,
    WIDTH,
    Tiny,
    classifier,
    pictures,
    small,
    values_of,
)
from underfire.errors import InputError, InterpreterError
from underfire.interpreters import LRP, AttnLRP

CLASSES = torch.tensor([1, 3])


def linear(x: Tensor, weight: Tensor, bias: Tensor, received: Tensor, gamma: float) -> Tensor:
    """Hand relevance through y = W x + b by the gamma rule: one contribution after the other. x is L x in."""
    passed = torch.zeros_like(x)
    for token in range(len(x)):
        for j in range(len(weight)):
            shares = torch.cat([x[token] * weight[j], bias[j : j + 1]])
            favoured = shares * shares.sum() > 0
            shares = torch.where(favoured, (1 + gamma) * shares, shares)
            passed[token] += shares[:-1] / shares.sum() * received[token, j]
    return passed


def norm(x: Tensor, layer: nn.LayerNorm, received: Tensor) -> Tensor:
    """Hand relevance through a layer norm: its affine part, the identity at its divisor, and its centring."""
    passed = torch.zeros_like(x)
    output = layer(x)
    for token in range(len(x)):
        centred = x[token] - x[token].mean()
        inner = (output[token] - layer.bias) / output[token] * received[token]
        for j in range(WIDTH):
            moved = -x[token] / WIDTH
            moved[j] += x[token, j]
            passed[token] += moved / centred[j] * inner[j]
    return passed


class Replica:
    """The relevance of the pixels of one image, and what the softmaxes absorbed on the way."""

    def __init__(self, network: Tiny, through: str, gamma: float, conv_gamma: float) -> None:
        self.network, self.through, self.gamma, self.conv_gamma = network, through, gamma, conv_gamma
        self.absorbed = 0.0

    @torch.no_grad()
    def pixels(self, image: Tensor, label: int) -> Tensor:
        pixels, blocks, last = values_of(self.network, image)
        normed = self.network.norm(last)
        received = torch.zeros(1, 4, dtype=torch.float64)
        received[0, label] = self.network.head(normed[0])[label]
        received = linear(normed[:1], self.network.head.weight, self.network.head.bias, received, self.gamma)
        relevance = torch.zeros_like(last)
        relevance[:1] = norm(last[:1], self.network.norm, received)
        for block, values in zip(reversed(self.network.blocks), reversed(blocks), strict=True):
            relevance = self.block(block, values, relevance)
        tokens = blocks[0].before
        embedded = (tokens - self.network.places[0])[1:]
        relevance = embedded / tokens[1:] * relevance[1:]
        weight = self.network.embed.weight.flatten(1)
        passed = linear(pixels, weight, self.network.embed.bias, relevance, self.conv_gamma)
        return F.fold(passed.T.unsqueeze(0), (SIDE, SIDE), PATCH, stride=PATCH)[0]

    def block(self, block: Any, values: Any, relevance: Tensor) -> Tensor:
        total = values.middle + values.added
        branch, relevance = values.added / total * relevance, values.middle / total * relevance
        branch = linear(values.gated, block.fc2.weight, block.fc2.bias, branch, self.gamma)  # GELU hands it on as it is
        branch = linear(values.normed2, block.fc1.weight, block.fc1.bias, branch, self.gamma)
        relevance = relevance + norm(values.middle, block.norm2, branch)
        branch, relevance = values.attended / values.middle * relevance, values.before / values.middle * relevance
        inner = block.attention.inner
        branch = linear(values.mixed, inner.out_proj.weight, inner.out_proj.bias, branch, self.gamma)
        size = WIDTH // HEADS
        parts = torch.zeros(3, len(values.mixed), WIDTH, dtype=torch.float64)
        for head in range(HEADS):
            channels = slice(head * size, (head + 1) * size)
            found = self.attention(values, head, branch[:, channels])
            for part, share in zip(parts, found, strict=True):
                part[:, channels] = share
        branch = linear(values.normed, inner.in_proj_weight, inner.in_proj_bias, torch.cat([*parts], 1), self.gamma)
        return relevance + norm(values.before, block.norm1, branch)

    def attention(self, values: Any, head: int, received: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hand relevance from one head's output L x d to its queries, keys and values."""
        query, key, value, matrix, scores = (
            each[head] for each in (values.query, values.key, values.value, values.matrices, values.scores)
        )
        shares = matrix[:, :, None] * value[None] / (matrix @ value)[:, None] * received[:, None]  # j x i x p
        if self.through == "values":
            return torch.zeros_like(query), torch.zeros_like(key), shares.sum(0)
        to_matrix, to_value = shares.sum(2) / 2, shares.sum(0) / 2
        to_scores = scores * (to_matrix - matrix * to_matrix.sum(1, keepdim=True))
        self.absorbed += float(to_matrix.sum() - to_scores.sum())
        products = query[:, None] * key[None] / math.sqrt(query.shape[1])
        shares = products / scores[:, :, None] * to_scores[:, :, None]
        return shares.sum(1) / 2, shares.sum(0) / 2, to_value


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("through", "gamma", "conv_gamma"), [("all", 0.0, 0.0), ("all", 0.3, 0.7), ("values", 0.3, 0)])
def test_every_layer_by_its_formula(style: str, through: Any, gamma: float, conv_gamma: float) -> None:
    images, network = pictures(), classifier(style)
    interpreter = AttnLRP(through, gamma, conv_gamma, EXACT)
    found = interpreter.relevance(network, images.clone().requires_grad_(), CLASSES).detach()
    assert isinstance(network.module, Tiny)
    for index in range(2):
        expected = Replica(network.module, through, gamma, conv_gamma).pixels(images[index], int(CLASSES[index]))
        assert torch.allclose(found[index], expected, rtol=1e-6, atol=1e-9)
    maps = interpreter.maps(network, images, CLASSES)
    kept = found.sum(1).clamp_min(0)
    low, high = kept.amin((1, 2), keepdim=True), kept.amax((1, 2), keepdim=True)
    assert torch.allclose(maps, ((kept - low) / (high - low)).float(), atol=1e-6)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("gamma", [0.0, 0.25])
def test_relevance_is_conserved(style: str, gamma: float) -> None:
    """Without biases, only the softmax absorbs any: nothing if relevance goes through the values alone."""
    images, network = pictures(), classifier(style, plain=True)
    assert isinstance(network.module, Tiny)
    logits = network.logits(images).gather(1, CLASSES[:, None]).squeeze(1)
    for through in ("values", "all"):
        interpreter = AttnLRP(through, gamma, gamma, EXACT)
        sums = interpreter.relevance(network, images.clone().requires_grad_(), CLASSES).detach().sum((1, 2, 3))
        for index in range(2):
            replica = Replica(network.module, through, gamma, gamma)
            replica.pixels(images[index], int(CLASSES[index]))
            assert (replica.absorbed == 0) == (through == "values")
            assert float(sums[index]) + replica.absorbed == pytest.approx(float(logits[index]), rel=1e-5)


@pytest.mark.parametrize("gate", [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Hardswish()], ids=str)
def test_gates_hand_on_all_relevance(gate: nn.Module) -> None:
    network, images = (
        small(gate),
        torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)),
    )
    classes = torch.tensor([0, 2])
    found = AttnLRP("all", 0.0, 0.0, EXACT).relevance(network, images.clone().requires_grad_(), classes).detach()
    logits = network.run(images).detach().gather(1, classes[:, None]).squeeze(1)
    assert torch.allclose(found.sum((1, 2, 3)), logits, rtol=1e-6)


@pytest.mark.parametrize("through", ["all", "values"])
def test_logits_stay_the_same(through: Any) -> None:
    network, images = classifier("module"), pictures()
    with torch.no_grad():
        expected = network.run(images)
        with AttnLRP(through).rules(None) as rules:
            found = network.run(rules.follow(images))
    assert torch.allclose(found, expected, atol=1e-9)


def test_weights_that_need_gradients_change_no_map() -> None:
    """A constant of the network is no factor that shares relevance, whether it is trained or not."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Tiny()
            self.strength = nn.Parameter(torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64))

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.inner(images) * self.strength.exp() * (self.inner.token[0, 0, :4] * 3).sum()
            return logits

    trained, frozen = (uf.Classifier(Scaled(), image_size=SIDE) for _ in range(2))
    frozen.module.requires_grad_(False)
    found = [
        AttnLRP().relevance(each, pictures().requires_grad_(), CLASSES).detach().clone() for each in (trained, frozen)
    ]
    assert torch.equal(*found)
    plain = AttnLRP().relevance(classifier(), pictures().requires_grad_(), CLASSES)
    factor = (trained.module.strength.exp()[CLASSES] * (trained.module.inner.token[0, 0, :4] * 3).sum()).view(
        2, 1, 1, 1
    )
    assert torch.allclose(found[0], plain * factor, rtol=1e-6)


def test_gamma_zero_is_lrp_on_networks_without_attention(images: Tensor) -> None:
    network = uf.Classifier(tiny_network(), image_size=16)
    classes = torch.arange(6) % 4
    found = AttnLRP(gamma=0, conv_gamma=0, epsilon=0.01).maps(network, images, classes)
    assert torch.allclose(found, LRP("epsilon", 0.01).maps(network, images, classes), atol=1e-6)


def test_lrp_refuses_attention() -> None:
    for style in STYLES:
        with pytest.raises(InterpreterError, match=r"LRP has no rule for attention.*'attnlrp'"):
            LRP().maps(classifier(style), pictures(), CLASSES)


def test_names_and_errors() -> None:
    assert uf.interpreters.create("attnlrp:values") == AttnLRP("values")
    assert uf.interpreters.create("AttnLRP") == AttnLRP()
    with pytest.raises(InputError, match="through is 'keys'"):
        uf.interpreters.create("attnlrp:keys")
    with pytest.raises(InputError, match="conv_gamma is -1; expected 0 or a positive number"):
        AttnLRP(conv_gamma=-1)
    with pytest.raises(InputError, match="epsilon is 0"):
        AttnLRP(epsilon=0)
