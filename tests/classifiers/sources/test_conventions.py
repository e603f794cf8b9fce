"""Other bounds and another order of channels: the network gets what it was trained with."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import underfire as uf
from tests.conftest import tiny_network
from underfire.classifiers import load
from underfire.errors import InputError, UnderfireWarning

NETWORK = """
from torch import nn

def seen():
    "A network whose logits are the means of its input's channels."
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

def grey():
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
"""
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BYTES = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
IMAGES = torch.tensor([[0.0, 0.2, 1.0]]).view(1, 3, 1, 1)


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "network.py").write_text(NETWORK)
    return f"{tmp_path / 'network.py'}:seen"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"bounds": (-1, 1)}, [-1, -0.6, 1]),
        ({"bounds": (0, 255)}, [0, 51, 255]),
        ({"bounds": (0, 255), "mean": (100, 110, 120), "std": (2, 2, 5)}, [-50, -29.5, 27]),
        ({"channel_order": "bgr"}, [1, 0.2, 0]),
        ({"channel_order": "rgb"}, [0, 0.2, 1]),
        (
            {"bounds": (0, 255), "channel_order": "bgr", "mean": (104, 117, 123), "std": (1, 1, 1)},
            [255 - 104, 51 - 117, 0 - 123],
        ),
    ],
)
def test_what_the_network_sees(file: str, options: dict[str, object], expected: list[float]) -> None:
    seen = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for classifier in (load(file, **options), uf.Classifier(seen, **options)):
        assert classifier.logits(IMAGES)[0].tolist() == pytest.approx(expected, abs=1e-4)
        assert classifier.prepare(size=(8, 8)).run(IMAGES.expand(1, 3, 8, 8))[0].tolist() == pytest.approx(
            expected, abs=1e-3
        )
    assert classifier.name == "Sequential"


def test_features_by_name_in_a_network_for_blue_before_red() -> None:
    network = tiny_network()
    classifier = uf.Classifier(network, features="second", bounds=(0, 255), channel_order="bgr")
    images, classes = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    plain = uf.Classifier(network, features="second", mean=(0, 0, 0), std=(1 / 255,) * 3)
    maps = uf.interpreters.GradCAM().maps
    assert torch.allclose(maps(classifier, images, classes), maps(plain, images.flip(1), classes), atol=1e-4)
    with pytest.raises(InputError, match=r"give Classifier\(network, bounds=\.\.\.\)"):
        uf.attack(network, images, classes, bounds=(0, 255))


def test_impossible_conventions(file: str) -> None:
    with pytest.raises(InputError, match=r"bounds is \(1, -1\)"):
        load(file, bounds=(1, -1))
    with pytest.raises(InputError, match=r"channel_order is 'grb'; expected one of rgb, bgr"):
        load(file, channel_order="grb")
    with pytest.raises(InputError, match=r"takes 1 channels; expected 3"):
        load(file.replace("seen", "grey"), channel_order="bgr")
    for bounds in ((1, -1), 255, (0, 1, 2), ("0", "1")):
        with pytest.raises(InputError, match=r"bounds is .*; expected the smallest and the largest pixel"):
            uf.Classifier(nn.Flatten(), bounds=bounds)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="mean and std come together"):
        uf.Classifier(nn.Flatten(), bounds=(0, 255), mean=(1, 1, 1))


def test_mean_and_std_may_be_tensors_whatever_the_order_of_channels() -> None:
    values = {"mean": torch.tensor([0.1, 0.2, 0.3]), "std": torch.tensor([0.4, 0.5, 0.6])}
    as_tensors = uf.Classifier(nn.Identity(), **values, channel_order="bgr")
    as_lists = uf.Classifier(
        nn.Identity(), mean=values["mean"].tolist(), std=values["std"].tolist(), channel_order="bgr"
    )
    assert (as_tensors.mean, as_tensors.std) == (as_lists.mean, as_lists.std)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bounds": (0, 255), "mean": IMAGENET[0], "std": IMAGENET[1]}, r"as large as 1136.*leave bounds out"),
        ({"bounds": (0, 255), "mean": (0.5,) * 3, "std": (0.5,) * 3}, "as large as 509.*leave bounds out"),
        ({"bounds": (0, 65535), "mean": IMAGENET[0], "std": IMAGENET[1]}, "leave bounds out"),
        ({"bounds": (-1, 1), "mean": (0.5,) * 3, "std": (0.5,) * 3}, "as large as 3.*leave bounds out"),
        (
            {"bounds": (0, 1), "mean": BYTES[0], "std": BYTES[1]},
            r"mean is \(123.7.*look like values for pixels in 0..255",
        ),
        ({"mean": BYTES[0], "std": BYTES[1]}, r"look like values for pixels in 0..255.*give bounds=\(0, 255\)"),
        ({"bounds": (-1, 1), "mean": BYTES[0], "std": BYTES[1]}, r"mean is \(123.7.*beyond the range of these pixels"),
        ({"bounds": (0, math.inf)}, "bounds is .*two finite numbers"),
        ({"bounds": (math.nan, 1)}, "bounds is .*two finite numbers"),
    ],
)
def test_mean_and_std_that_were_computed_for_other_pixels_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        uf.Classifier(nn.Flatten(), **given)


@pytest.mark.parametrize(
    ("bounds", "mean", "std"), [((-1, 1), *IMAGENET), ((0, 255), (0.5,) * 3, (1,) * 3), ((0, 10), *IMAGENET)]
)
def test_mean_and_std_that_look_like_those_of_other_pixels_are_doubted(
    bounds: tuple[float, float], mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    with pytest.warns(UnderfireWarning, match="these look like values for pixels in"):
        uf.Classifier(nn.Flatten(), bounds=bounds, mean=mean, std=std)


@pytest.mark.parametrize(
    ("bounds", "mean", "std"),
    [
        ((0, 255), *BYTES),
        ((0, 255), (0,) * 3, (1,) * 3),
        ((0, 255), (0,) * 3, (255,) * 3),
        ((0, 255), (104, 117, 123), (1,) * 3),
        ((-1, 1), (-0.03, -0.09, -0.19), (0.46, 0.45, 0.45)),
        ((-1, 1), (0,) * 3, (1,) * 3),
        ((0, 1), (0,) * 3, (1 / 65535,) * 3),
        (None, *IMAGENET),
    ],
)
def test_usual_means_and_stds_are_taken(
    bounds: tuple[float, float] | None, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uf.Classifier(nn.Flatten(), bounds=bounds, mean=mean, std=std)


@pytest.mark.parametrize(
    "bounds",
    [np.array([0, 255]), (np.float32(0), np.float32(255)), torch.tensor([0, 255]), (np.uint8(0), np.uint8(255))],
)
def test_bounds_may_be_numbers_of_numpy(bounds: Any) -> None:
    classifier = uf.Classifier(nn.Flatten(), bounds=bounds)
    assert classifier.std == (1 / 255,) * 3
