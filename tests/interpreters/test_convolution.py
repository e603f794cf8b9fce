"""Frozen convolutions have the values and both derivatives of torch's convolutions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from underfire.interpreters.convolution import frozen_conv2d

WAYS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (2, 1), "padding": (0, 2), "dilation": 2},
    {"padding": [1], "groups": 2},
    {"padding": "valid", "stride": 2},
    {"padding": "same"},
    {"padding": "same", "groups": 4},
    {"padding": "same", "size": (2, 4)},
    {"padding": "same", "size": (2, 3), "dilation": (3, 1)},
]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("way", WAYS)
def test_values_and_derivatives(way: dict[str, Any]) -> None:
    torch.manual_seed(0)
    size = way.get("size", (3, 3))
    way = {name: value for name, value in way.items() if name != "size"}
    weight = torch.randn(4, 4 // int(way.get("groups", 1)), *size, dtype=torch.float64)
    bias = torch.randn(4, dtype=torch.float64)
    image = torch.randn(2, 4, 9, 8, dtype=torch.float64, requires_grad=True)
    results = []
    for convolve in (frozen_conv2d, F.conv2d):
        output = convolve(image, weight, bias, **way)
        (gradient,) = torch.autograd.grad(output.sin().sum(), image, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), image, create_graph=True)
        (third,) = torch.autograd.grad(second.sum(), image)
        results.append((output, gradient, second, third))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_words_as_padding_take_the_cheap_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: under ``padding="same"``, as in ConvMixer, torch's second derivative took each channel by itself."""
    monkeypatch.setattr(torch, "conv2d", None)
    image = torch.rand(1, 4, 5, 5, requires_grad=True)
    assert frozen_conv2d(image, torch.rand(4, 1, 3, 3), None, 1, "same", 1, 4).shape == image.shape


def test_weights_that_train_keep_their_gradient() -> None:
    weight = torch.randn(2, 3, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(frozen_conv2d(torch.rand(1, 3, 5, 5), weight).sum(), weight)
    assert float(gradient.abs().sum()) > 0
