"""The limit of "kept": closed forms, properties, and the three interpreters that could game it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from underfire import metrics
from underfire.attacks.intervals import JointIntervals, Outcome
from underfire.attacks.limits import Limit, joint_success, kept_limit, reached_limit
from underfire.metrics.chance import ReadMaps, chance, groups, largest_limit


def reader(maps: Tensor) -> ReadMaps:
    return lambda rows: maps[list(rows)]


def limit_of(noise: Any, maps: Any, correct: Sequence[bool] | None = None) -> Limit:
    array = np.asarray(noise, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    flags = np.ones(len(array), dtype=bool) if correct is None else np.array(correct)
    return kept_limit(array, flags, reader(torch.as_tensor(np.asarray(maps), dtype=torch.float64)))


def random_maps(count: int, seed: int = 0, cells: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 1, cells))


def levels(count: int) -> np.ndarray:
    """Maps of one cell with the values 0, 1/count, ...: distances are differences of places, over count."""
    return np.arange(count)[:, None, None] / count


def test_chance_by_hand() -> None:
    found = chance(4, reader(torch.tensor([0.0, 0.1, 0.3, 0.9]).view(4, 1, 1)))
    pairs = {(int(a), int(b)): d for a, b, d in zip(found.first, found.second, found.distance, strict=True)}
    assert len(pairs) == 12
    assert pairs[0, 3] == pairs[3, 0] == pytest.approx(0.9)
    assert found.distance.tolist() == sorted(found.distance)
    expected = [abs(0.0 - 1.3 / 3), abs(0.1 - 1.2 / 3), abs(0.3 - 1.0 / 3), abs(0.9 - 0.4 / 3)]
    assert found.average.tolist() == pytest.approx(expected), "the average of all other images' maps"
    shares, average = found.passing(np.array([0.2, 0.25, 0.01, 1.0]))
    assert shares.tolist() == pytest.approx([1 / 3, 2 / 3, 0.0, 1.0])
    assert average.tolist() == [False, False, False, True]


def test_the_largest_limit_by_hand() -> None:
    values = np.arange(40) / 40
    limit = largest_limit(values)
    assert limit == 2 / 40, "two of 40 are 5 %"
    assert (values < limit).mean() == 0.05
    assert largest_limit(values[:19]) == 0, "one of 19 would be more"
    assert largest_limit(np.zeros(0)) == float("inf")
    assert largest_limit(np.array([0.1, 0.2]), np.array([1, 19])) == 0.2, "0.1 counts once of 20 times"


def test_closed_forms_of_the_three_origins() -> None:
    maps = levels(100)
    small = limit_of(np.full(100, 0.004), maps)
    assert (small.set_by, small.mean) == ("noise", pytest.approx(0.004))
    # At distance k/100 there are 2 (100 - k) of 9,900 ordered pairs. 495 may pass: those at 1/100 and 2/100.
    large = limit_of(np.full(100, 0.7), maps)
    assert large.by_other == pytest.approx(0.03)
    # The average of others is (4950 - i) / 9900: image i is |i - 49.5| / 99 away from it. 5 of 100 may pass.
    assert large.by_average == pytest.approx(2.5 / 99)
    assert (large.set_by, large.mean) == ("average", pytest.approx(2.5 / 99))
    ends = np.concatenate([np.zeros((50, 1, 1)), np.ones((50, 1, 1))])
    equal = limit_of(np.full(100, 0.7), ends)
    assert (equal.set_by, equal.mean, equal.by_average) == ("other", 0.0, pytest.approx(50 / 99))


def test_several_draws_are_pooled_and_the_own_limit_is_the_largest() -> None:
    noise = np.arange(50).reshape(10, 5) / 1000
    found = limit_of(noise, random_maps(10))
    assert found.by_noise == pytest.approx(np.percentile(noise, 95))
    assert found.draws == 5
    assert found.own.tolist() == pytest.approx(noise.max(1).tolist())
    loud = limit_of(noise * 100, random_maps(10))
    assert loud.own.max() == min(loud.by_other, loud.by_average), "chance lowers the limits of single images, too"


def test_the_reached_limit_has_its_chance_control() -> None:
    """Image 0 wants 0 and has .4; images 1 and 2 have .1 and .9: one of two other maps is nearer than half-way."""
    benign = torch.tensor([0.4, 0.1, 0.9], dtype=torch.float64).view(3, 1, 1)
    found = reached_limit(np.array([0.4, 0.1, 0.9]), np.ones(3, bool), reader(benign), reader(benign * 0))
    assert found.values.tolist() == pytest.approx([0.2, 0.05, 0.45])
    assert (found.set_by, found.keeps) == ("halfway", False)
    shares, average = found.passing
    assert shares.tolist() == pytest.approx([0.5, 0.0, 1.0])
    assert average.tolist() == [False, False, True]
    intervals = JointIntervals({"cam": found})
    assert intervals.chance["cam"]["other"].mean == pytest.approx(0.5)
    unknown = reached_limit(np.array([0.4, 0.1]), np.ones(2, bool), reader(benign), None)
    assert JointIntervals({"cam": unknown}).chance["cam"]["other"].mean is None


def test_few_images_leave_the_chance_control_uncertain() -> None:
    """No other map of five images passes: that is no proof that none would, so the interval has a width."""
    maps = torch.arange(5, dtype=torch.float64).view(5, 1, 1) / 5
    chance = JointIntervals({"cam": limit_of([0.001] * 5, maps)}).chance["cam"]
    for interval in chance.values():
        assert (interval.mean, interval.low) == (0, 0)
        assert interval.high == pytest.approx(metrics.rate([False] * 5).high)


def test_one_image_has_no_chance_control() -> None:
    found = limit_of([0.3], random_maps(1))
    assert (found.set_by, found.mean) == ("noise", 0.3)
    assert JointIntervals({"cam": found}).chance["cam"]["other"].n == 0


@pytest.mark.parametrize(("count", "most"), [(7, 3), (10, 5), (1, 5), (401, 200)])
def test_groups_are_spread_and_equal(count: int, most: int) -> None:
    found = list(groups(count, most))
    assert sorted(place for group in found for place in group) == list(range(count))
    sizes = [len(group) for group in found]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    parts = chance(count, reader(torch.rand(count, 2, 2)), most=most)
    assert len(parts.distance) == sum(size * (size - 1) for size in sizes)
    every = chance(count, reader(torch.rand(count, 2, 2)), most=count)
    assert np.isinf(every.average).tolist() == [count == 1] * count


# Properties


@st.composite
def systems(draw: Any) -> tuple[np.ndarray, np.ndarray]:
    count = draw(st.integers(2, 30))
    cells = st.lists(st.integers(0, 8), min_size=count * 3, max_size=count * 3)  # many ties
    noise = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=count * 2, max_size=count * 2)
    maps = np.array(draw(cells), dtype=float).reshape(count, 1, 3) / 8
    return np.array(draw(noise)).reshape(count, 2), maps


@given(systems())
@settings(deadline=None)
def test_chance_stays_at_or_below_five_percent(system: tuple[np.ndarray, np.ndarray]) -> None:
    found = limit_of(*system)
    shares, average = found.passing
    assert shares.mean() <= 0.05 + 1e-12
    assert average.mean() <= 0.05 + 1e-12
    assert found.mean == min(found.by_noise, found.by_other, found.by_average)
    assert (found.own <= min(found.by_other, found.by_average)).all()


@given(systems(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_images_does_not_matter(system: tuple[np.ndarray, np.ndarray], random: Any) -> None:
    noise, maps = system
    order = list(range(len(noise)))
    random.shuffle(order)
    one, other = limit_of(noise, maps), limit_of(noise[order], maps[order])
    for name in ("by_noise", "by_other", "by_average"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-12)


@given(systems(), st.floats(0, 1))
@settings(deadline=None)
def test_more_noise_never_lowers_the_limit(system: tuple[np.ndarray, np.ndarray], more: float) -> None:
    noise, maps = system
    less = limit_of(noise, maps)
    assert limit_of(noise + more, maps).mean >= less.mean
    correct = [place > 0 for place in range(len(noise))]
    changed = noise.copy()
    changed[0] = 99
    assert limit_of(changed, maps, correct).by_noise == limit_of(noise, maps, correct).by_noise, "only correct ones"


# Interpreters that could game the limit


def joint(found: Limit, distance: np.ndarray) -> float:
    reached = np.ones(len(distance), dtype=bool)
    return float(joint_success(reached, found.correct, distance, found.values).mean())


def test_an_interpreter_that_always_says_the_same_keeps_nothing() -> None:
    """Noise and attack move its maps by nothing at all, and so would any other image's map be "kept"."""
    maps = np.repeat(random_maps(1), 40, axis=0)
    found = limit_of(np.zeros((40, 5)), maps)
    assert found.mean == 0
    assert joint(found, np.zeros(40)) == 0
    nearly = maps + 0.01 * random_maps(40)
    found = limit_of(np.full((40, 5), 0.2), nearly)
    assert found.set_by in ("other", "average")
    assert found.mean < 0.01, "a map that hardly depends on the image"


def test_an_interpreter_whose_maps_are_noise_is_not_praised() -> None:
    """Regression: every map counted as kept, so that even the prediction-only attack had a joint success of 95 %."""
    maps, again = random_maps(60, 1, 30), np.stack([random_maps(60, seed, 30) for seed in range(2, 7)])
    noise = np.abs(again - maps).mean((2, 3)).T
    attacked = np.abs(random_maps(60, 9, 30) - maps).mean((1, 2))
    found = limit_of(noise, maps)
    assert (attacked < found.by_noise).mean() > 0.9, "by the noise alone"
    assert found.set_by == "average"
    assert joint(found, attacked) <= 0.1


def test_an_interpreter_that_saturates_is_capped() -> None:
    """Nearly all cells are 1 in every map, so that all images have nearly the same map."""
    generator = np.random.default_rng(0)
    maps = np.ones((50, 1, 40))
    maps[np.arange(50), 0, generator.integers(0, 40, 50)] = 0  # each differs from another in two of 40 cells
    noise = np.full((50, 5), 2 / 40)
    attacked = np.abs(maps - np.roll(maps, 1, axis=0)).mean((1, 2))
    found = limit_of(noise + 0.01, maps)
    assert (attacked < found.by_noise).all()
    assert joint(found, attacked) <= 0.1
    assert found.set_by in ("other", "average")


def test_the_prediction_only_attack_gains_nothing_from_chance() -> None:
    """Regression: on a noisy network it had a joint success of 71 %, because any map passed the limit."""
    generator = np.random.default_rng(3)
    maps = 0.5 + 0.1 * generator.standard_normal((100, 1, 50))
    noise = 0.18 + 0.02 * generator.random((100, 5))
    alone = np.abs(maps - (0.5 + 0.1 * generator.standard_normal((100, 1, 50)))).mean((1, 2))
    careful = np.full(100, 0.02)
    found, success = limit_of(noise, maps), np.ones(100, dtype=bool)
    assert (alone < found.by_noise).mean() > 0.7
    intervals = JointIntervals({"cam": found})
    control = intervals.joint(Outcome(success, {"cam": alone}))
    attack = intervals.joint(Outcome(success, {"cam": careful}))
    assert (control.mean or 0) <= 0.06
    assert attack.mean == 1
    gap = intervals.gap(Outcome(success, {"cam": careful}), Outcome(success, {"cam": alone}))
    assert (gap.low or 0) > 0.8
