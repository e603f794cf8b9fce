"""The masker against a slow replica of its definition, and the scales that it takes from networks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.classifiers.test_features import build
from tests.conftest import smooth_images, tiny_network
from tests.interpreters.rts.makers import pyramid, random_masker, shape_of
from underfire.errors import InterpreterError
from underfire.interpreters.rts.network import Masker, Shape, finer_scales, top_of


def test_scales_are_the_last_features_at_each_resolution() -> None:
    classifier = pyramid()
    images = smooth_images(3, 32)
    with torch.no_grad():
        recorded = classifier.record(images, scales=True)
        expected = classifier.module.features(classifier.normalise(images))
    assert len(recorded.scales) == 3
    for found, wanted in zip((*recorded.scales, recorded.features), expected, strict=True):
        assert torch.equal(found, wanted)
    used = [top_of(recorded), *finer_scales(recorded, (32, 32))]
    assert [scale.shape[2] for scale in used] == [4, 8, 16], "up to half of the image's size"
    assert Shape.of(recorded, (32, 32)) == Shape(4, 24, (16, 16), 32)
    assert classifier.record(images).scales == ()


def test_large_images_end_at_a_quarter_and_three_steps() -> None:
    torch.manual_seed(0)
    widths = (3, 8, 8, 8, 8, 8, 8)
    body = [nn.Conv2d(a, b, 3, 2, padding=1) for a, b in itertools.pairwise(widths)]
    network = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    with torch.no_grad():
        recorded = uf.Classifier(network).record(torch.rand(1, 3, 256, 256), scales=True)
    assert [scale.shape[2] for scale in finer_scales(recorded, (256, 256))] == [8, 16, 32]
    assert [scale.shape[2] for scale in finer_scales(recorded, (32, 32))] == [8, 16]


def test_convolutions_without_padding_make_no_scales_of_their_own() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(3 if i == 0 else 8, 8, 3) for i in range(4)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    with torch.no_grad():
        recorded = uf.Classifier(network).record(torch.rand(1, 3, 24, 24), scales=True)
    assert [scale.shape[2] for scale in recorded.scales] == [24, 22, 20, 18]
    assert finer_scales(recorded, (24, 24)) == []


@pytest.mark.parametrize(
    ("name", "skips", "sides"),
    [("resnet18", (256, 128, 64), (8, 16, 32)), ("densenet121", (512, 256, 128), (8, 16, 32))],
)
def test_scales_of_known_networks(name: str, skips: tuple[int, ...], sides: tuple[int, ...]) -> None:
    with torch.no_grad():
        recorded = uf.Classifier(build(name)).record(torch.rand(1, 3, 128, 128), scales=True)
    assert Shape.of(recorded, (128, 128)).skips == skips
    assert tuple(scale.shape[2] for scale in finer_scales(recorded, (128, 128))) == sides


def test_gating_and_presence_are_their_formulas() -> None:
    """Against loops over places and channels."""
    masker = random_masker(Shape(5, 8, (), 8))
    masker.to_map.weight.data[:] = torch.randn_like(masker.to_map.weight)
    top, classes = torch.randn(3, 8, 2, 3), torch.tensor([4, 0, 2])
    maps, presence = masker([top], classes, 0.7)
    vectors, weight, bias = masker.selector.weight, masker.to_map.weight[:, :, 0, 0], masker.to_map.bias
    for n in range(3):
        total = 0.0
        for y in range(2):
            for x in range(3):
                f, e = top[n, :, y, x].tolist(), vectors[classes[n]].tolist()
                product = sum(a * b for a, b in zip(f, e, strict=True))
                total += product
                gate = 1 / (1 + math.exp(-(product - 0.7)))
                both = [
                    abs(sum(w * v * gate for w, v in zip(weight[k].tolist(), f, strict=True)) + float(bias[k]))
                    for k in (0, 1)
                ]
                assert float(maps[n, y, x]) == pytest.approx(both[0] / (both[0] + both[1] + 1e-8), abs=1e-5)
        assert float(presence[n]) == pytest.approx(total / 6, abs=1e-5), "the mean of the ungated evidence"


def slow_masker(masker: Masker, scales: list[Tensor], classes: Tensor, confidence: float) -> Tensor:
    """Compute the decoder by its description: convolution, batch norm, ReLU, pixel shuffle, skip, bottleneck."""

    def norm(values: Tensor, part: nn.BatchNorm2d) -> Tensor:
        mean, var, gain, bias = (
            v.view(-1, 1, 1) for v in (part.running_mean, part.running_var, part.weight, part.bias)
        )
        return (values - mean) / (var + part.eps).sqrt() * gain + bias

    top, *skips = scales
    evidence = (top * masker.selector.weight[classes][:, :, None, None]).sum(1, keepdim=True)
    features = top / (1 + torch.exp(confidence - evidence))
    for block, skip in zip(masker.blocks, skips, strict=True):
        wide = norm(torch.conv2d(features, block.conv.weight, padding=1), block.bn).clamp_min(0)
        n, c, h, w = wide.shape
        larger = wide.new_zeros(n, c // 4, 2 * h, 2 * w)
        for dy in (0, 1):
            for dx in (0, 1):
                larger[:, :, dy::2, dx::2] = wide[:, 2 * dy + dx :: 4]
        joined = torch.cat([larger, skip], 1)
        inner = joined
        for place, padding in ((0, 0), (3, 1), (6, 0)):
            inner = norm(
                torch.conv2d(inner, block.join.body[place].weight, padding=padding), block.join.body[place + 1]
            )
            inner = inner if place == 6 else inner.clamp_min(0)
        short = norm(torch.conv2d(joined, block.join.shortcut[0].weight), block.join.shortcut[1])
        features = (inner + short).clamp_min(0)
    a, b = torch.conv2d(features, masker.to_map.weight, masker.to_map.bias).abs().unbind(1)
    return a / (a + b + 1e-8)


def test_the_decoder_against_a_slow_replica() -> None:
    masker = random_masker(shape_of(pyramid()))
    assert len(masker.blocks) == 2
    assert [block.bn.num_features // 4 for block in masker.blocks] == [16, 8], (
        "the width doubles with each coarser scale"
    )
    scales = [torch.rand(3, 24, 4, 4), torch.rand(3, 16, 8, 8), torch.rand(3, 16, 16, 16)]
    classes = torch.tensor([0, 3, 1])
    maps, _ = masker(scales, classes, 1.5)
    assert maps.shape == (3, 16, 16)
    assert bool(((maps >= 0) & (maps <= 1)).all())
    assert torch.allclose(maps, slow_masker(masker, scales, classes, 1.5), atol=1e-5)


def test_a_class_without_evidence_has_no_features() -> None:
    masker = random_masker(shape_of(pyramid()))
    scales = [torch.rand(2, 24, 4, 4), torch.rand(2, 16, 8, 8), torch.rand(2, 16, 16, 16)]
    gated, _ = masker(scales, torch.tensor([0, 1]), 1e4)
    nothing, _ = masker([scales[0] * 0, *scales[1:]], torch.tensor([0, 1]), 0.0)
    assert torch.equal(gated, nothing)


def test_odd_sizes_meet_their_skips() -> None:
    masker = random_masker(Shape(3, 8, (8,), 8))
    maps, _ = masker([torch.rand(2, 8, 5, 5), torch.rand(2, 8, 9, 9)], torch.tensor([0, 1]), 0.0)
    assert maps.shape == (2, 9, 9)


def test_features_that_do_not_fit_are_refused() -> None:
    masker = random_masker(shape_of(pyramid()))
    with torch.no_grad():
        other = uf.Classifier(tiny_network()).record(smooth_images(1, 32), scales=True)
    with pytest.raises(InterpreterError, match=r"have \[8\] channels.*masker needs \[24, 16, 16\].*another size"):
        masker.scales_of(other, (16, 16))


def test_a_network_without_feature_maps_is_refused() -> None:
    class Mlp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(images[:, 0, 0, :8] * 2)
            return logits

    with torch.no_grad():
        recorded = uf.Classifier(Mlp()).record(torch.rand(1, 3, 8, 8), scales=True)
    with pytest.raises(InterpreterError, match="RTS needs an encoder with convolutional features"):
        Shape.of(recorded, (8, 8))
