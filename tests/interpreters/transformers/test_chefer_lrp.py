"""Chefer's transformer attribution against a replica that hands relevance from layer to layer by its formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.interpreters.transformers.architectures import CASES
from tests.interpreters.transformers.tiny import HEADS, STYLES, WIDTH, Tiny, classifier, pictures, values_of
from underfire.interpreters import Chefer, CheferLRP

CLASSES = torch.tensor([1, 3])
SIZE = WIDTH // HEADS


def linear(x: Tensor, weight: Tensor, received: Tensor) -> Tensor:
    """Hand relevance through y = W x to the contributions above 0; x is L x in."""
    passed = torch.zeros_like(x)
    for token in range(len(x)):
        for j in range(len(weight)):
            shares = (x[token] * weight[j]).clamp_min(0)
            passed[token] += shares / (shares.sum() + 1e-6) * received[token, j]
    return passed


def split(u: Tensor, v: Tensor, received: Tensor) -> tuple[Tensor, Tensor]:
    """Hand relevance through u + v in proportion, normalised by the totals of both."""
    to_u, to_v = u / (u + v) * received, v / (u + v) * received
    a, b = to_u.sum(), to_v.sum()
    total = a.abs() + b.abs()
    return to_u * a.abs() / total * received.sum() / a, to_v * b.abs() / total * received.sum() / b


def product(first: Tensor, second: Tensor, received: Tensor) -> tuple[Tensor, Tensor]:
    """Hand relevance through a matrix product L x m times m x n in proportion, normalised by the totals of both."""
    to_first, to_second = torch.zeros_like(first), torch.zeros_like(second)
    output = first @ second
    for i in range(len(first)):
        for j in range(second.shape[1]):
            shares = first[i] * second[:, j] / output[i, j] * received[i, j]
            to_first[i] += shares
            to_second[:, j] += shares
    a, b = to_first.sum(), to_second.sum()
    total = a.abs() + b.abs()
    return to_first * a.abs() / total * received.sum() / a, to_second * b.abs() / total * received.sum() / b


def slopes_of(network: Tiny, image: Tensor, label: int) -> list[Tensor]:
    """The gradient of the logit in each matrix of attention, heads x L x L per block."""
    patches = network.embed(image.unsqueeze(0))[0].flatten(1).T
    tokens, all_matrices = torch.cat([network.token[0], patches]) + network.places[0], []
    for block in network.blocks:
        inner = block.attention.inner
        projected = F.linear(block.norm1(tokens), inner.in_proj_weight, inner.in_proj_bias)
        query, key, value = (part.view(-1, HEADS, SIZE).transpose(0, 1) for part in projected.chunk(3, 1))
        matrices = torch.softmax(query @ key.mT / math.sqrt(SIZE), 2)
        all_matrices.append(matrices)
        tokens = tokens + inner.out_proj((matrices @ value).transpose(0, 1).flatten(1))
        tokens = tokens + block.fc2(F.gelu(block.fc1(block.norm2(tokens))))
    logits = network.head(network.norm(tokens)[0])
    return list(torch.autograd.grad(logits[label], all_matrices))


@torch.no_grad()
def relevance_of(network: Tiny, image: Tensor, label: int) -> list[Tensor]:
    """The relevance of each matrix of attention, heads x L x L per block."""
    _, blocks, last = values_of(network, image)
    received = F.one_hot(torch.tensor([label]), 4).double()
    relevance = torch.zeros_like(last)
    relevance[:1] = linear(network.norm(last)[:1], network.head.weight, received)  # a norm hands it on as it is
    found = []
    for block, values in zip(reversed(network.blocks), reversed(blocks), strict=True):
        relevance, branch = split(values.middle, values.added, relevance)
        branch = linear(values.gated, block.fc2.weight, branch)
        relevance = relevance + linear(values.normed2, block.fc1.weight, branch)
        relevance, branch = split(values.before, values.attended, relevance)
        inner = block.attention.inner
        branch = linear(values.mixed, inner.out_proj.weight, branch)
        to_parts, to_matrices = torch.zeros(3, len(last), WIDTH, dtype=torch.float64), []
        for head in range(HEADS):
            channels = slice(head * SIZE, (head + 1) * SIZE)
            to_matrix, to_parts[2, :, channels] = product(
                values.matrices[head], values.value[head], branch[:, channels]
            )
            to_query, to_key = product(values.query[head], values.key[head].T, to_matrix)  # softmax: as it is
            to_parts[0, :, channels], to_parts[1, :, channels] = to_query, to_key.T
            to_matrices.append(to_matrix)
        found.append(torch.stack(to_matrices))
        relevance = relevance + linear(values.normed, inner.in_proj_weight, torch.cat([*to_parts], 1))
    return found[::-1]


def by_definition(network: Tiny, image: Tensor, label: int) -> Tensor:
    flow = torch.eye(10, dtype=torch.float64)
    for slope, relevance in zip(slopes_of(network, image, label), relevance_of(network, image, label), strict=True):
        mean = sum((slope[head] * relevance[head]).clamp_min(0) for head in range(HEADS)) / HEADS
        flow = (torch.eye(10, dtype=torch.float64) + mean) @ flow
    row = flow[0, 1:].view(3, 3)
    return (row - row.min()) / (row.max() - row.min())


@pytest.mark.parametrize("style", STYLES)
def test_every_layer_by_its_formula(style: str) -> None:
    images, network = pictures(), classifier(style)
    found = CheferLRP().maps(network, images, CLASSES)
    assert isinstance(network.module, Tiny)
    for index in range(2):
        expected = by_definition(network.module, images[index], int(CLASSES[index]))
        assert torch.allclose(found[index], expected.float(), atol=1e-4)
    others = CheferLRP().maps(network, images, CLASSES.flip(0))
    assert float((others - found).abs().mean()) > 0.01, "it depends on the class"
    assert float((Chefer().maps(network, images, CLASSES) - found).abs().mean()) > 0.01, "it is not the generic rule"


def test_batches_change_nothing() -> None:
    """The totals that sums are normalised by are those of each image."""
    images, network = pictures(5), classifier()
    classes = torch.tensor([0, 1, 2, 3, 0])
    whole = CheferLRP().maps(network, images, classes)
    for index in range(5):
        alone = CheferLRP().maps(network, images[index : index + 1], classes[index : index + 1])
        assert torch.equal(alone[0], whole[index])


@pytest.mark.parametrize("name", ["zoo", "timm-vit", "transformers-vit-eager", "torch"])
def test_the_logits_stay_the_same(name: str) -> None:
    case = CASES[name]
    network: Any = case.classifier()
    images = torch.rand(2, 3, *case.size, generator=torch.Generator().manual_seed(0))
    from underfire.interpreters.chefer_lrp import CheferRules

    rules = CheferRules(None)
    found = network.record(rules.follow(images.requires_grad_()), rules, attention=True)
    assert torch.allclose(found.logits, network.run(images), atol=1e-5)
    assert len(found.attention.matrices) == 2
