"""The detector that learns from maps: trees against scikit-learn, features in closed form, channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier

import underfire as uf
from tests.detectors.conftest import Digits
from tests.detectors.test_contract import fitted
from underfire.detectors.map_features import pooled
from underfire.detectors.map_reading import on_grid
from underfire.detectors.trees import grow, log_odds
from underfire.errors import InputError, UserCodeError


def test_trees_say_what_scikit_learn_says() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(160, 6, generator=generator, dtype=torch.float64)
    attacked = features[:, 0] * features[:, 1] + 0.3 * torch.randn(160, generator=generator) > 0
    state = grow(features, attacked, count=40, depth=3, rate=0.1, seed=5)
    made = GradientBoostingClassifier(
        n_estimators=40, max_depth=3, learning_rate=0.1, subsample=0.5, max_features="sqrt", random_state=5
    ).fit(features.float().numpy(), attacked.numpy())
    fresh = torch.randn(90, 6, generator=generator, dtype=torch.float64)
    expected = made.decision_function(fresh.float().numpy())
    assert log_odds(state, fresh).numpy() == pytest.approx(expected, abs=1e-12)
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_trees_of_one_node_are_values() -> None:
    """Features that tell nothing apart: every tree is a leaf, and the score is that of the shares."""
    state = grow(torch.zeros(40, 2), torch.arange(40) < 10, count=3, depth=2, rate=0.1, seed=0)
    assert len({*log_odds(state, torch.rand(5, 2)).tolist()}) == 1


def test_features_of_a_known_map() -> None:
    """One cell of 8 x 8 is 1: averages at three scales, then statistics, in this order."""
    channel = torch.zeros(8, 8, dtype=torch.float64)
    channel[1, 6] = 1.0
    found = pooled(channel[None, None])[0].tolist()
    assert len(found) == 64 + 16 + 4 + 12
    assert found[:64] == channel.flatten().tolist()
    assert found[64:80] == [0.25 if place == 3 else 0.0 for place in range(16)]
    assert found[80:84] == [0.0, 1 / 16, 0.0, 0.0]
    mean, std, most, *quantiles = found[84:92]
    assert (mean, most, quantiles) == (1 / 64, 1.0, [0.0] * 5)
    assert std == pytest.approx((1 / 64 * (1 - 1 / 64)) ** 0.5)
    assert found[92:94] == pytest.approx([2 / 56, 2 / 56])
    assert found[94:] == pytest.approx([0.5 / 64, 0.0])


def test_maps_are_brought_to_one_grid() -> None:
    maps = torch.arange(16.0).view(1, 4, 4) / 16
    assert on_grid(maps, 2, 2).tolist() == [[[2.5 / 16, 4.5 / 16], [10.5 / 16, 12.5 / 16]]]
    larger = on_grid(maps, 8, 8)
    assert larger.shape == (1, 8, 8)
    assert 0 <= float(larger.min()) < float(larger.max()) <= 1
    assert torch.equal(on_grid(torch.ones(1, 2, 2), 8, 8), torch.ones(1, 8, 8, dtype=torch.float64))


LOOKED = """
import torch

seen = []


def looked(channels):
    seen.append(channels)
    return channels.flatten(1)


def wrong(channels):
    return channels
"""


def test_the_third_channel_is_the_product(digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "looked.py").write_text(LOOKED)
    made = fitted(digits, uf.detectors.Maps(product=True, features=f"{tmp_path}/looked.py:looked", trees=5, grid=4))
    image = digits.attacked[:2]
    classes = digits.system.classifier.logits(image).argmax(1)
    grids = [on_grid(each, 4, 4) for each in digits.system.maps(image, classes).values()]
    channels = torch.stack([*grids, grids[0] * grids[1]], 1)
    assert torch.equal(made.scores(image), log_odds(made.state, channels.flatten(1)))
    assert int(made.state["trees/feature"].max()) < 3 * 16


def test_it_learns_what_it_is_shown(digits: Digits) -> None:
    made = fitted(digits, "maps")
    benign = made.scores(digits.images[:40])
    assert uf.metrics.roc_area(benign, made.scores(digits.attacked)) > 0.95
    assert made.name == "maps"
    assert fitted(digits, "maps:product").name == "maps with product"


def test_a_product_is_of_two_maps(digits: Digits) -> None:
    system = uf.System(digits.system.classifier, ["cam", "grad", "gradcam"])
    with pytest.raises(InputError, match="product is True, and the system has 3 interpreters; expected 2"):
        uf.detectors.fit(
            "maps:product",
            system,
            digits.images[80:],
            digits.images[:40],
            digits.attacked,
            calibration_ids=digits.ids[80:],
            benign_ids=digits.ids[:40],
            attacked_ids=digits.ids[:40],
        )


@pytest.mark.parametrize(
    ("features", "kind", "message"),
    [
        ("vgg", InputError, "features is 'vgg'; expected 'pooled', or file.py:function"),
        ("{}/looked.py:wrong", UserCodeError, "gives shape .*; expected one row of numbers per image"),
        ("{}/looked.py:nothing", InputError, "unknown name in"),
    ],
)
def test_bad_features(digits: Digits, tmp_path: Path, features: str, kind: Any, message: str) -> None:
    (tmp_path / "looked.py").write_text(LOOKED)
    with pytest.raises(kind, match=message):
        fitted(digits, uf.detectors.Maps(features=features.format(tmp_path)))
