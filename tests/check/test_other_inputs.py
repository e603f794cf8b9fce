"""Another normalisation or order of channels that fits better is found, and not looked for where none could win."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from underfire.check import run_check, trials
from underfire.check.other_inputs import try_other_inputs, worth_trying
from underfire.interpreters import CAM
from underfire.runs.inputs import InputSettings


def digits() -> tuple[uf.Classifier, Tensor, Tensor]:
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(32))
    return classifier, batch.images, batch.labels


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [((0.305,), (0.345,), None), ((0.0,), (1 / 255,), "pixels in [-1, 1]: --mean 0.5 --std 0.5")],
)
def test_a_better_normalisation_is_found(mean: Any, std: Any, expected: str | None) -> None:
    classifier, images, labels = digits()
    fed = uf.Classifier(classifier.module, mean=mean, std=std)
    right = fed.logits(images).argmax(1) == labels
    _, best = try_other_inputs(fed, images, labels, right)
    if expected is None:
        assert best is None
    else:
        assert best is not None
        assert best.accuracy > 0.9
        assert expected in best.advice


@pytest.mark.parametrize(("wrong", "worth"), [(0, False), (6, False), (7, True), (32, True)])
def test_others_are_not_tried_where_none_could_win(wrong: int, worth: bool) -> None:
    """A sign test of six images against none has a p-value of 1 in 64; of seven, 1 in 128."""
    assert worth_trying(torch.arange(32) >= wrong) == worth


@pytest.mark.parametrize(("count", "said"), [(6, "6 images are too few to tell"), (12, "with 12 of 12 images right")])
def test_why_others_are_not_tried(count: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: with few images and none right, it said that none could be better, which is true of no input."""
    monkeypatch.setattr(trials, "REGISTRY", {"cam": CAM})
    found = run_check(InputSettings.create(data="digits:test", classifier="digits-resnet"), count, torch.device("cpu"))
    (line,) = (each for each in found.lines if each.topic == "input")
    assert line.text.startswith(f"others not tried: {said}")


def test_blue_before_red() -> None:
    class Red(nn.Module):
        """Class 1 where red outweighs blue, for whoever gives blue first."""

        def forward(self, images: Tensor) -> Tensor:
            return (images[:, 2] - images[:, 0]).mean((1, 2)).mul(20)

    images = torch.zeros(20, 3, 8, 8)
    images[:10, 0], images[10:, 2] = 0.9, 0.9
    labels = (torch.arange(20) < 10).long()
    _, best = try_other_inputs(uf.Classifier(Red()), images.flip(1), labels, torch.ones(20, dtype=torch.bool))
    assert best is None
    _, best = try_other_inputs(uf.Classifier(Red()), images, labels, torch.zeros(20, dtype=torch.bool))
    assert best is not None
    assert "blue before red" in best.advice
    assert best.accuracy == 1
    _, best = try_other_inputs(
        uf.Classifier(Red(), channel_order="bgr"), images.flip(1), labels, torch.zeros(20, dtype=torch.bool)
    )
    assert best is not None
    assert best.advice == "red before blue: without --channel-order bgr"


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_input_of_networks_from_caffe(order: str) -> None:
    """Blue before red, in 0..255 without the means: neither of them alone is enough."""

    class Caffe(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            score = 2.0 * (images[:, 0] - images[:, 2]).mean((1, 2))
            return torch.stack((-score, score, (images.amax((1, 2, 3)) < 80).float() * 1e4), 1)

    images = torch.full((20, 3, 8, 8), 0.5)
    images[:10, 2] += 10 / 255
    images[10:, 0] += 10 / 255
    images += torch.tensor([123.68, 116.779, 103.939]).div(255).view(1, 3, 1, 1) - 0.5
    images[:, :, 0, 0] = 1
    labels = (torch.arange(20) < 10).long()
    plain = uf.Classifier(Caffe(), channel_order=order)
    _, best = try_other_inputs(plain, images, labels, plain.logits(images).argmax(1) == labels)
    assert best is not None
    assert best.accuracy == 1
    assert best.advice.endswith("--bounds 0,255 --channel-order bgr --mean 103.939,116.779,123.68 --std 1,1,1")
