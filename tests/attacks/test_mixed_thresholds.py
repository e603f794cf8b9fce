"""Detectors with and without thresholds, and detectors that read maps, in one attack."""

from __future__ import annotations

import torch
from torch import Tensor

import underfire as uf
from underfire import attacks
from underfire.attacks import Evade
from underfire.attacks.ranking import Ranking, UnnoticedFirst
from underfire.attacks.terms.base import Evading, Point
from underfire.attacks.terms.squeezed import shift


class OfMaps(Evading):
    """A detector that finds bright maps: its score is the mean of the map."""

    name = "of-maps"
    needs_maps = True

    def __call__(self, point: Point) -> Tensor:
        return point.reading.maps["cam"].mean((1, 2))

    def evades(self, point: Point) -> Tensor:
        return self(point) < 0.5


def test_a_squeezer_without_a_threshold_decides_nothing(classifier: uf.Classifier, images: Tensor) -> None:
    """Regression: its threshold was 0, so that no image was ever unnoticed, whatever the others say."""
    mixed = attacks.preset("auto", evade=["bit-depth:3<0.2", "median:2"]).evade
    (given,) = attacks.evading.evading_terms(mixed)
    assert isinstance(given.term, Evade)
    assert given.term.thresholds == (0.2, None)
    view = uf.System(classifier, "cam").view()
    classes = torch.zeros(len(images), dtype=torch.int64)
    states = view.begin(images, classes, torch.arange(len(images)))
    reading, _ = view.read(images, lambda _: classes, states, graph=False)
    none = images.new_zeros(len(images))
    point = Point(images, reading, classes, attacks.Goal(), {}, none, none + 1, lambda each: view.prepared.run(each))
    alone = Evade(("bit-depth:3",), (0.2,))
    assert torch.equal(given.term.evades(point), alone.evades(point))
    assert bool(alone.evades(point).any())
    expected = 40 * (shift(point, given.term.squeezers[0]) - 0.75 * 0.2).clamp_min(0)
    expected = expected + 12 * shift(point, given.term.squeezers[1])
    assert torch.allclose(given.term(point), expected)


def test_a_ranking_by_a_detector_of_maps_reads_maps() -> None:
    """Regression: an attack on the prediction alone read none after its last step, and failed there."""

    assert not Ranking("prediction").needs_maps
    assert UnnoticedFirst("prediction", evading=(OfMaps(),)).needs_maps


def test_an_attack_on_the_prediction_alone_ends_with_a_detector_of_maps(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    found = uf.attack(classifier, images, labels, "pgd", evade=OfMaps(), steps=(2, 2))
    assert not torch.equal(found.adversarial, images)
    assert bool((found.forwards > 0).all())
