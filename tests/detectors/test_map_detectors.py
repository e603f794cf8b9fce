"""Detectors that learn nothing from attacked images: agreement, stability and class maps, from their definitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

import underfire as uf
from tests.detectors.conftest import Digits
from tests.detectors.test_contract import fitted
from underfire.classifiers import Classifier
from underfire.detectors import MapStability, fit
from underfire.detectors.map_agreement import correlations
from underfire.detectors.map_reading import on_grid
from underfire.errors import InputError, UnderfireWarning


def maps_of(digits: Digits, images: Tensor) -> dict[str, np.ndarray]:
    classes = digits.system.classifier.logits(images).argmax(1)
    return {name: each.double().numpy() for name, each in digits.system.maps(images, classes).items()}


def test_agreement_is_the_drop_of_the_rank_correlation(digits: Digits) -> None:
    """With scipy's correlation of maps that are averaged to 4 x 4 cells by hand."""

    def correlation(images: Tensor) -> np.ndarray:
        maps = maps_of(digits, images)
        fine = maps["grad"].reshape(-1, 4, 4, 4, 4).mean((2, 4))
        pairs = zip(maps["cam"], fine, strict=True)
        return np.array([scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs])

    benign = correlation(digits.images[:80])
    made = fitted(digits, "map-agreement")
    expected = (benign.mean() - correlation(digits.attacked)) / benign.std()
    assert made.scores(digits.attacked).numpy() == pytest.approx(expected, abs=1e-6)


def test_agreement_takes_the_pair_that_drops_most(digits: Digits) -> None:
    system = uf.System(digits.system.classifier, ["cam", "grad", "gradcam++"])
    made = fit("map-agreement", system, digits.images[80:], digits.images[:80])
    classes = system.classifier.logits(digits.attacked).argmax(1)
    drops = []
    benign_classes = system.classifier.logits(digits.images[:80]).argmax(1)
    before = correlations(system.maps(digits.images[:80], benign_classes))
    after = correlations(system.maps(digits.attacked, classes))
    for pair in range(3):
        drops.append((before[:, pair].mean() - after[:, pair]) / before[:, pair].std(correction=0))
    assert torch.allclose(made.scores(digits.attacked), torch.stack(drops).amax(0))
    assert made.state["drop/mean"].shape == (3,)


def test_the_class_map_is_the_mean_of_other_images_of_the_class(digits: Digits) -> None:
    """A slow replica: each benign image is compared with the other images of its class, new ones with all of them."""
    benign = digits.images[:80]
    classes = digits.system.classifier.logits(benign).argmax(1).numpy()
    maps = maps_of(digits, benign)
    fresh = digits.attacked[:10]
    fresh_classes = digits.system.classifier.logits(fresh).argmax(1).numpy()
    scores = np.zeros(10)
    for name, own in maps.items():
        spread = []
        for place, each in enumerate(own):
            others = [one for other, one in enumerate(own) if other != place and classes[other] == classes[place]]
            others = others or [one for other, one in enumerate(own) if other != place]
            spread.append(np.abs(each - np.mean(others, 0)).mean())
        for place, each in enumerate(maps_of(digits, fresh)[name]):
            same = own[classes == fresh_classes[place]]
            distance = np.abs(each - (same if len(same) > 1 else own).mean(0)).mean()
            scores[place] += (distance - np.mean(spread)) / np.std(spread) / len(maps)
    assert fitted(digits, "class-map").scores(fresh).numpy() == pytest.approx(scores, abs=1e-6)


def test_one_image_of_a_class_is_no_mean_of_it(digits: Digits) -> None:
    """Regression: its own map was the mean map of its class, without a word."""
    classes = digits.system.classifier.logits(digits.images[:80]).argmax(1)
    alone = int((classes == classes[0]).nonzero()[0])
    places = [place for place in range(80) if classes[place] != classes[0] or place == alone]
    with pytest.warns(UnderfireWarning, match="has fewer than 2 images of 1 of the 10 classes"):
        made = fit("class-map", digits.system, digits.images[80:], digits.images[places])
    for name, own in maps_of(digits, digits.images[places]).items():
        means = made.state[f"mean/{name}"].numpy()
        assert means[int(classes[0])] == pytest.approx(own.mean(0), abs=1e-6)
        assert means[int(classes[alone + 1])] != pytest.approx(own.mean(0), abs=1e-3)
    with pytest.raises(InputError, match="benign holds 1 images, too few for class-map: at least 2 are needed"):
        fit("class-map", digits.system, digits.images[80:], digits.images[:1])


@dataclass(frozen=True)
class Brightness(uf.interpreters.Interpreter):
    """The image itself as its map."""

    name: ClassVar[str] = "brightness"

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return images.mean(1)

    def view(self) -> Any:
        raise NotImplementedError


def test_stability_is_the_mean_change_under_noise(digits: Digits) -> None:
    """For a map that is the image, the change is the noise itself, which lies inside its bounds."""
    system = uf.System(digits.system.classifier, Brightness())
    grey = digits.images * 0.5 + 0.25  # so that nothing is cut off
    changes = MapStability(noise=0.1, draws=8).changes(system, grey)[:, 0]
    assert float(changes.mean()) == pytest.approx(0.05, rel=0.02)  # the mean of |uniform(-0.1, 0.1)|
    assert float(changes.max()) < 0.1
    assert torch.equal(changes, MapStability(noise=0.1, draws=8).changes(system, grey)[:, 0])
    assert not torch.equal(changes, MapStability(noise=0.1, draws=8, seed=1).changes(system, grey)[:, 0])


def test_stability_counts_in_benign_standard_deviations(digits: Digits) -> None:
    detector = MapStability(noise=4 / 255, draws=1)
    made = fitted(digits, detector)
    benign = detector.changes(digits.system, digits.images[:80]).numpy()
    attacked = detector.changes(digits.system, digits.attacked).numpy()
    expected = ((attacked - benign.mean(0)) / benign.std(0)).mean(1)
    assert made.scores(digits.attacked).numpy() == pytest.approx(expected, abs=1e-9)


def test_stability_takes_its_noise_as_an_argument() -> None:
    assert uf.detectors.named.made_of("map-stability:4/255")[0] == MapStability(noise=4 / 255)
    with pytest.raises(InputError, match="noise is 2"):
        MapStability(noise=2.0)
    with pytest.raises(InputError, match="draws is 0"):
        MapStability(draws=0)


def test_the_title_says_the_noise(digits: Digits, run_folder: Path) -> None:
    """Regression: two of different noise had one name, and could not be evaluated together."""
    titles = {MapStability(): "map-stability", MapStability(draws=3): "map-stability draws=3"}
    titles |= {MapStability(noise=4 / 255): "map-stability 4/255", MapStability(0.1, 1): "map-stability 0.1 draws=1"}
    assert [made.title for made in titles] == list(titles.values())
    pair = [fitted(digits, name) for name in ("map-stability", "map-stability:4/255")]
    found = uf.detectors.evaluate(pair, run_folder)
    assert {row["detector"] for row in found.rows()} == {"map-stability", "map-stability 4/255"}


def test_on_grid_keeps_a_map_of_the_size() -> None:
    maps = torch.rand(2, 4, 4)
    assert torch.equal(on_grid(maps, 4, 4), maps.double())
