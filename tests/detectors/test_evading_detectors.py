"""Detectors as targets: their differentiable scores, surrogates, and what transformations restore."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.detectors.conftest import EPS, Digits
from tests.detectors.test_contract import fitted
from underfire.attacks import Point, Score, ScoreOfMaps
from underfire.detectors import FittedDetector, fit
from underfire.errors import InputError
from underfire.transforms.squeezers import squeezer

NAMES = ["squeezing:bit-depth:3+median:2", "class-map", "lid:5"]


@pytest.fixture(scope="module")
def labels(digits: Digits) -> Tensor:
    return digits.system.classifier.logits(digits.images).argmax(1)


def ids(digits: Digits) -> dict[str, list[str]]:
    return {"calibration_ids": digits.ids[80:], "benign_ids": digits.ids[:60], "attacked_ids": digits.ids[:40]}


def attacked(digits: Digits, labels: Tensor, system: uf.System | None = None, **settings: Any) -> Any:
    some = slice(100, 106)
    given: dict[str, Any] = {"eps": EPS, "budget": 8, "control": False, "noise_draws": 1} | settings
    return uf.attack(system or digits.system, digits.images[some], labels[some], "auto", **given)


@pytest.mark.parametrize("name", NAMES)
def test_the_score_of_an_attack_is_the_detectors_own(digits: Digits, labels: Tensor, name: str) -> None:
    """At every step, the differentiable score equals ``measure``: for maps, as soon as the class is reached."""
    system = digits.system.only(("cam",)) if name == "class-map" else digits.system
    made = fit(name, system, digits.images[80:], digits.images[:60], digits.attacked, **ids(digits))
    seen: list[tuple[Tensor, Tensor]] = []

    def spy(point: Point) -> Tensor:
        values = made.score(point)
        told = point.reading.logits.argmax(1) == point.classes
        chosen = told if made.detector.reads_maps else torch.ones_like(told)
        seen.append((point.image.detach()[chosen].clone(), values.detach()[chosen].clone()))
        return values

    kind = ScoreOfMaps if made.detector.reads_maps else Score
    attacked(digits, labels, system=system, budget=20, evade=kind(spy))
    assert sum(len(images) for images, _ in seen) >= 20
    for images, values in [each for each in seen if len(each[0])][::5]:
        reading = made.detector.measure(made.system, made.state, images.float().clone())
        assert values.double().cpu().numpy() == pytest.approx(reading.numpy(), rel=2e-3, abs=2e-3)


def test_an_untargeted_attack_sees_the_class_map_of_the_class_that_it_reached(digits: Digits, labels: Tensor) -> None:
    """Regression: it saw the distance from the mean map of the image's own class."""
    made = fit(
        "class-map",
        digits.system.only(("cam",)),
        digits.images[80:],
        digits.images[:60],
        calibration_ids=digits.ids[80:],
    )
    seen: list[tuple[Tensor, Tensor]] = []

    def spy(point: Point) -> Tensor:
        values = made.score(point)
        left = point.reading.logits.argmax(1) != point.classes
        seen.append((point.image.detach()[left].clone(), values.detach()[left].clone()))
        return values

    attacked(digits, labels, system=made.system, budget=20, targeted=False, evade=ScoreOfMaps(spy))
    images, values = (torch.cat(each) for each in zip(*seen, strict=True))
    assert len(images) >= 20
    expected = made.detector.measure(made.system, made.state, images.float())
    assert values.double().cpu().numpy() == pytest.approx(expected.numpy(), rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_that_knows_the_detector_ends_lower(digits: Digits, labels: Tensor, name: str) -> None:
    made = fitted(digits, name)
    term = made.term(margin=10)
    plain = attacked(digits, labels, budget=20)
    knowing = attacked(digits, labels, budget=20, evade=term)
    assert made.scores(knowing.adversarial).mean() < made.scores(plain.adversarial).mean()
    assert made.knows(f"term={term!r}")
    other = dataclasses.replace(made, threshold=made.threshold + 1)
    assert not other.knows(f"term={term!r}")
    higher = dataclasses.replace(term, threshold=made.threshold + 0.01 * abs(made.threshold) + 0.01)
    assert not made.knows(f"term={higher!r}")
    assert made.knows(f"term={dataclasses.replace(term, threshold=-math.inf, margin=0)!r}")


def test_lid_has_the_gradient_of_finite_differences(digits: Digits) -> None:
    made = fitted(digits, "lid:5")
    score = made.detector.differentiable(made.system, made.state)
    image = digits.attacked[:1].clone().requires_grad_()

    class At:
        def __init__(self, image: Tensor) -> None:
            self.image = image

    (gradient,) = torch.autograd.grad(score(At(image)).sum(), image)
    assert gradient.abs().max() > 0
    step = 2e-3 * gradient / gradient.norm()
    with torch.no_grad():
        rise = score(At(image + step)) - score(At(image - step))
    assert float(rise) == pytest.approx(float((gradient * 2 * step).sum()), rel=0.1)


def test_a_surrogate_imitates_a_detector_without_a_gradient(digits: Digits, labels: Tensor) -> None:
    made = fitted(digits, "map-agreement")
    with pytest.raises(
        InputError,
        match=r"no differentiable score\. Take an attack without gradients \(square\).*evade=uf\.detectors\.surrogate",
    ):
        made.term()
    images = torch.cat([digits.images[:40], digits.attacked])
    stand_in = uf.detectors.surrogate(made, images, digits.images[60:100])
    assert stand_in.agreement > 0.3
    maps = digits.system.maps(images, digits.system.classifier.logits(images).argmax(1))
    guessed = stand_in.of_maps({name: each.double() for name, each in maps.items()})
    assert np.corrcoef(guessed.numpy(), made.scores(images).numpy())[0, 1] > 0.6  # on the images it learnt from
    knowing = attacked(digits, labels, evade=stand_in.term())
    assert made.knows(f"term={stand_in.term()!r}")
    higher = dataclasses.replace(stand_in.term(), threshold=stand_in.threshold + 1)
    assert not made.knows(f"term={higher!r}")

    def scores(images: Tensor) -> float:
        maps = digits.system.maps(images, digits.system.classifier.logits(images).argmax(1))
        return float(stand_in.of_maps(maps).mean())

    assert scores(knowing.adversarial) < scores(attacked(digits, labels).adversarial)
    with pytest.raises(InputError, match="reads cam, grad: attack all of them"):
        uf.attack(
            uf.System(digits.system.classifier, ["cam"]),
            digits.images[:2],
            labels[:2],
            "auto",
            eps=EPS,
            budget=2,
            evade=stand_in.term(),
        )


def test_the_surrogate_is_a_ridge_regression(digits: Digits) -> None:
    from sklearn.linear_model import Ridge

    from underfire.detectors.surrogate import inputs

    made: FittedDetector = fitted(digits, "class-map")
    images, others = digits.images[:40], digits.images[60:100]
    stand_in = uf.detectors.surrogate(made, images, others)

    def values(images: Tensor) -> np.ndarray:
        maps = digits.system.maps(images, digits.system.classifier.logits(images).argmax(1))
        return inputs({name: each.double() for name, each in maps.items()}).numpy()

    first = values(images)
    mean, std = first.mean(0), np.maximum(first.std(0), 1e-6)
    replica = Ridge(alpha=len(images)).fit((first - mean) / std, made.scores(images).numpy())
    maps = digits.system.maps(others, digits.system.classifier.logits(others).argmax(1))
    found = stand_in.of_maps({name: each.double() for name, each in maps.items()})
    assert found.numpy() == pytest.approx(replica.predict((values(others) - mean) / std), abs=1e-6)
    with pytest.raises(InputError, match="at least 10"):
        uf.detectors.surrogate(made, images[:9], others)
    with pytest.raises(InputError, match="reads no maps"):
        uf.detectors.surrogate(fitted(digits, "squeezing:median:2"), images, others)


def test_prediction_and_map_under_squeezers(digits: Digits) -> None:
    """A slow replica from the definition, one squeezer and one interpreter at a time."""
    names, benign = ("bit-depth:3", "median:2"), digits.images[:60]
    made = fit("map-squeezing:bit-depth:3+median:2", digits.system, digits.images[80:], benign)
    classifier = digits.system.classifier

    def changes(images: Tensor, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        after = squeezer(name)(images)
        classes = classifier.logits(images).argmax(1)
        probabilities = [classifier.logits(each).double().softmax(1) for each in (images, after)]
        shift = (probabilities[0] - probabilities[1]).abs().sum(1)
        before, moved = digits.system.maps(images, classes), digits.system.maps(after, classes)
        return shift.numpy(), {each: (before[each] - moved[each]).abs().mean((1, 2)).numpy() for each in before}

    def standard(values: np.ndarray, among: np.ndarray) -> np.ndarray:
        return (values - among.mean()) / among.std()

    expected = []
    for name in names:
        known, new = changes(benign, name), changes(digits.attacked, name)
        maps = [standard(new[1][each], known[1][each]) for each in ("cam", "grad")]
        expected.append((standard(new[0], known[0]) + np.mean(maps, 0)) / 2)
    assert made.scores(digits.attacked).numpy() == pytest.approx(np.max(expected, 0), abs=1e-3)
    assert made.name == "map-squeezing bit-depth:3 + median:2"


def test_what_transformations_restore(digits: Digits, labels: Tensor) -> None:
    measures = uf.detectors.restoring(digits.system, ["median:3", "jpeg:50"])
    assert [each.name for each in measures] == [
        "class_back_median_3",
        "map_after_median_3",
        "class_back_jpeg_50",
        "map_after_jpeg_50",
    ]
    found = attacked(digits, labels, budget=20, measures=measures)
    after = squeezer("median:3")(found.adversarial)
    own = labels[100:106]
    assert found.class_back_median_3.tolist() == (digits.system.classifier.logits(after).argmax(1) == own).tolist()
    maps = digits.system.maps(after, own)
    for name in ("cam", "grad"):
        expected = (maps[name] - found.benign_maps[name]).abs().mean((1, 2))
        assert found.map_after_median_3[name].numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_the_seed_of_an_interpreter_is_no_part_of_what_a_transformation_restores(digits: Digits) -> None:
    """Regression: the maps were drawn by the pixels, and the benign maps by the names of the images."""
    system = uf.System(digits.system.classifier, {"smooth": uf.interpreters.SmoothGrad(samples=4)})
    given: dict[str, Any] = {"eps": EPS, "budget": 2, "control": False, "noise_draws": 1, "ids": digits.ids[:3]}
    labels = system.classifier.logits(digits.images[:3]).argmax(1)
    same = uf.detectors.restoring(system, ["resize-pad:100"])  # which changes nothing
    found = uf.attack(system, digits.images[:3], labels, "auto", measures=same, **given)
    assert found.controls["clean"].map_after_resize_pad_100["smooth"].tolist() == [0.0] * 3
    after = system.maps(found.adversarial, labels, digits.ids[:3])["smooth"]
    expected = (after - found.benign_maps["smooth"]).abs().mean((1, 2))
    assert found.map_after_resize_pad_100["smooth"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_images_and_their_attacked_forms_are_scored_by_a_fit_that_has_not_seen_them(digits: Digits) -> None:
    """A detector that knows the ids it has learnt from by heart never meets one of them again."""
    from tests.detectors.remembering import Remembering
    from underfire.detectors.folds import cross_scores
    from underfire.detectors.split import Split

    classifier = digits.system.classifier
    benign = Split.of(digits.images[:30], classifier, digits.ids[:30])
    fooled = Split.of(digits.attacked[5:25], classifier, digits.ids[5:25], clean=False)
    clean, bad = cross_scores(Remembering(), digits.system, benign, fooled)
    assert clean.tolist() == [0.0] * 30
    assert bad.tolist() == [0.0] * 20
    learnt = cross_scores(Remembering(count=True), digits.system, benign, fooled)[0]
    assert learnt.tolist() == [24.0 + 16.0] * 30  # four fifths of both
    with pytest.raises(InputError, match="too few for 5 parts: at least 10"):
        cross_scores(
            Remembering(), digits.system, benign, Split.of(digits.attacked[:9], classifier, digits.ids[:9], clean=False)
        )
    with pytest.raises(InputError, match="benign has no image with this id"):
        cross_scores(
            Remembering(), digits.system, benign, Split.of(digits.attacked, classifier, digits.ids[:40], clean=False)
        )


def test_sources_at_regular_places_are_dealt_out_to_all_parts(digits: Digits) -> None:
    """Regression: every fifth image was attacked, so that one of five parts held all sources."""
    from tests.detectors.remembering import Remembering
    from underfire.detectors.folds import cross_scores
    from underfire.detectors.split import Split

    classifier = digits.system.classifier
    benign = Split.of(digits.images[:50], classifier, digits.ids[:50])
    fooled = Split.of(digits.attacked[:10], classifier, digits.ids[:50:5], clean=False)
    clean, bad = cross_scores(Remembering(count=True), digits.system, benign, fooled)
    assert clean.tolist() == [40.0 + 8.0] * 50
    assert bad.tolist() == [40.0 + 8.0] * 10
