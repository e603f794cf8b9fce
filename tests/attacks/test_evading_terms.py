"""The terms of adaptive attacks: against slow replicas, with exact gradients, and with every pass counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from underfire import attacks
from underfire.attacks.ranking import Ranking, UnnoticedFirst
from underfire.attacks.terms import TERMS, Evade, Evading, Match, Point, Score, ScoreOfMaps, Squeeze, Term
from underfire.classifiers import Recorded
from underfire.errors import InputError, UserCodeError
from underfire.transforms.squeezers import BitDepth, Median, Squeezer

LABELS = ("bit-depth:3", "median:2", "median:3")
Network = Callable[[Tensor], Tensor]


@pytest.fixture
def network() -> Network:
    made = tiny_network().double()
    return lambda images: made((images - 0.5) * 4)


def point_at(images: Tensor, network: Network, wanted: Tensor | None = None) -> Point:
    said = uf.system.Reading(Recorded(network(images), None, None, None, ()), {}, {})
    zeros = images.new_zeros(len(images))
    return Point(images, said, zeros.long(), attacks.Goal(), {}, zeros, zeros, network, wanted)


def slow_probabilities(network: Network, image: np.ndarray) -> list[float]:
    with torch.no_grad():
        logits = network(torch.from_numpy(image)[None])[0].tolist()
    total = sum(math.exp(value) for value in logits)
    return [math.exp(value) / total for value in logits]


def slow_squeezed(label: str, image: np.ndarray) -> np.ndarray:
    kind, _, number = label.partition(":")
    if kind == "median":
        return np.stack([median_filter(plane, size=int(number), mode="reflect") for plane in image])
    return np.rint(image * (2 ** int(number) - 1)) / (2 ** int(number) - 1)


def slow_shifts(network: Network, image: Tensor) -> list[float]:
    """|p(x) - p(psi(x))|_1 for each squeezer, from the definition."""
    before = slow_probabilities(network, image.numpy())
    found = []
    for label in LABELS:
        after = slow_probabilities(network, slow_squeezed(label, image.numpy()))
        found.append(sum(abs(a - b) for a, b in zip(before, after, strict=True)))
    return found


def test_the_squeeze_term_against_a_slow_replica(network: Network) -> None:
    images = smooth_images(5).double()
    expected = []
    for image in images:
        before, total = slow_probabilities(network, image.numpy()), 0.0
        for label in LABELS:
            after = slow_probabilities(network, slow_squeezed(label, image.numpy()))
            total -= sum(p * math.log(q) for p, q in zip(before, after, strict=True))
        expected.append(total)
    assert Squeeze(LABELS)(point_at(images, network)).tolist() == pytest.approx(expected, rel=1e-9)
    assert Squeeze() == Squeeze(LABELS) == TERMS["squeeze"]


def test_the_evade_term_against_a_slow_replica(network: Network) -> None:
    images = smooth_images(6, seed=4).double()
    shifts = [slow_shifts(network, image) for image in images]
    thresholds = tuple(sorted(column)[2] for column in zip(*shifts, strict=True))  # some images lie on each side
    weights, slack = (40.0, 9.0, 3.0), 0.9
    term = Evade(LABELS, thresholds, weights, slack)
    point = point_at(images, network)
    expected = [
        sum(w * max(0.0, s - slack * t) for s, t, w in zip(row, thresholds, weights, strict=True)) for row in shifts
    ]
    assert term(point).tolist() == pytest.approx(expected, rel=1e-9)
    near = Evade(LABELS, tuple(t + 1e-9 for t in thresholds))
    unnoticed = [all(s <= t + 1e-9 for s, t in zip(row, thresholds, strict=True)) for row in shifts]
    assert near.evades(point).tolist() == unnoticed
    assert Evade(LABELS)(point).tolist() == pytest.approx([sum(row) for row in shifts], rel=1e-9)
    everything = Evade(LABELS, (2.0,) * 3)
    assert everything(point).tolist() == [0] * 6
    assert bool(everything.evades(point).all())


def test_the_match_term(network: Network) -> None:
    images = smooth_images(4).double()
    wanted = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).double().softmax(1)
    expected = [
        max(0.0, sum(abs(a - b) for a, b in zip(slow_probabilities(network, image.numpy()), row, strict=True)) - 0.4)
        for image, row in zip(images, wanted.tolist(), strict=True)
    ]
    assert max(expected) > 0
    assert Match(0.5, slack=0.8)(point_at(images, network, wanted)).tolist() == pytest.approx(expected, rel=1e-9)
    with pytest.raises(
        InputError, match="term 'match' needs class probabilities, and the rule for target classes wants"
    ):
        Match()(point_at(images, network))


@pytest.mark.parametrize("term", [Squeeze(("median:2", "median:3")), Evade(("median:2", "median:3"), (0.05, 0.02))])
def test_gradients_pass_finite_differences(network: Network, term: Term) -> None:
    """On images without ties, as the median's gradient jumps there."""
    levels = torch.randperm(2 * 3 * 8 * 8, generator=torch.Generator().manual_seed(2)).double()
    images = (levels / len(levels)).view(2, 3, 8, 8).requires_grad_()
    assert float(term(point_at(images, network)).detach().min()) > 0

    def total(images: Tensor) -> Tensor:
        return term(point_at(images, network))

    assert torch.autograd.gradcheck(total, (images,), eps=1e-6, atol=1e-5, fast_mode=True)


def test_the_gradient_through_the_bit_depth_is_straight(network: Network) -> None:
    """It is the derivative in the coarse image, as if the coarse image moved like the image."""
    images = smooth_images(2).double().requires_grad_()
    (found,) = torch.autograd.grad(Evade("bit-depth:2")(point_at(images, network)).sum(), images)
    fine = images.detach().clone().requires_grad_()
    coarse = BitDepth(2)(fine).requires_grad_()
    distance = (network(fine).softmax(1) - network(coarse).softmax(1)).abs().sum()
    first, second = torch.autograd.grad(distance, (fine, coarse))
    assert torch.allclose(found, first + second, rtol=1e-9, atol=1e-12)


def test_terms_of_one_step_share_passes(network: Network) -> None:
    """Two terms and the ranking look at three squeezers: three passes, also if the first look has no graph."""
    calls: list[bool] = []

    def counted(images: Tensor) -> Tensor:
        calls.append(images.requires_grad)
        return network(images)

    images = smooth_images(2).double().requires_grad_()
    point = replace(point_at(images, network), run=counted)
    first = Evade(LABELS)(point) + Squeeze(LABELS[::-1])(point)
    UnnoticedFirst("prediction", evading=(Evade(LABELS, (1.0,) * 3),)).rate(point)
    assert calls == [True] * 3
    calls.clear()
    again = replace(point_at(images, network), run=counted)
    with torch.no_grad():
        Evade(LABELS).evades(again)
    second = Evade(LABELS)(again) + Squeeze(LABELS)(again)
    assert len(calls) == 6
    gradients = [torch.autograd.grad(value.sum(), images)[0] for value in (first, second)]
    assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


def test_passes_of_terms_are_counted(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    settings: dict[str, Any] = {"eps": 0.1, "steps": (2, 5), "early_stop": False}
    found = uf.attack(classifier, images, labels, "adv2", terms={"evade": 1.0, "squeeze": 0.1}, **settings)
    # The last image is ranked by a pass of its own, and one of each squeezer: would the detector notice it?
    assert found.forwards.tolist() == [2 + 5 * 4 + (1 + 3)] * 6
    assert found.backwards.tolist() == [2 + 5 * 4] * 6


@dataclass(frozen=True)
class Brightness:
    """A detector for tests: the mean of the image."""

    name: ClassVar[str] = "brightness"

    wrong: str = ""

    def score(self, point: Point) -> Tensor:
        if self.wrong == "raises":
            raise RuntimeError("no")
        values = point.image.mean((1, 2, 3))
        return values.mean() if self.wrong == "shape" else values


def by_function(point: Point) -> Tensor:
    return Brightness().score(point)


@pytest.mark.parametrize("detector", [Brightness(), by_function])
def test_the_score_term(network: Network, detector: Any) -> None:
    images = smooth_images(5).double()
    values = [float(image.mean()) for image in images]
    threshold = sorted(values)[2] + 1e-6
    point = point_at(images, network)
    expected = [max(0.0, value - threshold + 0.01) for value in values]
    assert Score(detector, threshold, margin=0.01)(point).tolist() == pytest.approx(expected, abs=1e-12)
    assert Score(detector, threshold).evades(point).tolist() == [value <= threshold for value in values]
    assert Score(detector)(point).tolist() == pytest.approx(values), "without a threshold, the score itself"
    assert not Score(detector).evades(point).any()
    assert ScoreOfMaps(detector).needs_maps
    assert not Score(detector).needs_maps


def test_the_score_term_in_an_attack(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    darker = [attacks.Weighted(Score(Brightness()), 100.0)]
    settings: dict[str, Any] = {"eps": 0.1, "steps": (1, 8), "early_stop": False}
    plain = uf.attack(classifier, images, labels, "adv2", **settings)
    found = uf.attack(classifier, images, labels, "adv2", terms=darker, **settings)
    assert float(found.adversarial.mean()) < float(plain.adversarial.mean()) - 0.01


def test_a_wrong_detector_is_named(network: Network) -> None:
    point = point_at(smooth_images(2).double(), network)
    with pytest.raises(InputError, match=r"score of detector 'brightness' returns shape \(\); expected a tensor of 2"):
        Score(Brightness("shape"))(point)
    with pytest.raises(UserCodeError, match="detector 'brightness' fails: RuntimeError: no"):
        Score(Brightness("raises"))(point)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Evade(()), "squeezers is empty"),
        (lambda: Evade(LABELS, (0.1,)), "thresholds has 1 values for 3 squeezers"),
        (lambda: Evade(LABELS, weights=(1.0, 2.0)), "weights has 2 values for 3 squeezers"),
        (lambda: Evade("median:2", (2.5,)), "thresholds holds 2.5; expected at least 0 and at most 2"),
        (lambda: Evade("median:2", (math.nan,)), "thresholds holds nan"),
        (lambda: Evade("median:2", weights=(-1.0,)), "weights holds -1.0; expected at least 0"),
        (lambda: Evade("median:2", slack=1.5), "slack is 1.5"),
        (lambda: Evade(("median:2", Median(2))), "'median:2' twice"),
        (lambda: Squeeze("median:9"), "side is 9"),
        (lambda: Match(3.0), "threshold is 3.0"),
        (lambda: Match(slack=-1), "slack is -1"),
        (lambda: Score(3), "detector is an object of type int"),  # type: ignore[arg-type]
        (lambda: Score(Brightness(), math.nan), "threshold is nan"),
        (lambda: Score(Brightness(), margin=-1), "margin is -1"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_unnoticed_iterates_rank_first(network: Network) -> None:
    """Of four successes and a failure, the unnoticed ones win, then the more confident, then the smaller criterion."""

    @dataclass(frozen=True)
    class Given(Evading):
        name: ClassVar[str] = "given"

        answers: tuple[bool, ...]

        def __call__(self, point: Point) -> Tensor:
            return torch.zeros_like(point.penalty)

        def evades(self, point: Point) -> Tensor:
            return torch.tensor(self.answers)

    images = smooth_images(5).double()
    point = point_at(images, network)
    classes = point.reading.logits.argmax(1)
    classes[4] = (classes[4] + 1) % 4
    point = replace(point, classes=classes)
    detectors = Given((True, True, False, False, True)), Given((True, False, True, False, True))
    ranking = UnnoticedFirst("prediction", 0.0, detectors)
    level, value = ranking.rate(point)
    plain, same = Ranking("prediction", 0.0).rate(point)
    assert plain.tolist() == [2, 2, 2, 2, 0]
    assert level.tolist() == [4, 2, 2, 2, 0]
    assert torch.equal(value, same)


@dataclass(frozen=True)
class OnTheCpu(Squeezer):
    name: ClassVar[str] = "on-the-cpu"

    def squeeze(self, images: Tensor) -> Tensor:
        return images * 0.5


def test_steps_are_recorded_only_if_squeezers_stay_on_the_device() -> None:
    for term in (Squeeze, Evade):
        assert term(LABELS).steps_alike
        assert not term((*LABELS, "jpeg")).steps_alike
        assert not term((OnTheCpu(),)).steps_alike
    assert not Score(Brightness()).steps_alike
    assert TERMS["prediction"].steps_alike
