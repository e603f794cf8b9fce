"""Intervals of joint success, against a slow bootstrap that makes every sample from the definition."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from scipy import stats

from underfire import metrics
from underfire.attacks.intervals import JointIntervals, Outcome
from underfire.attacks.limits import Limit, kept_limit
from underfire.metrics import resampling
from underfire.metrics.chance import chance, largest_limit

ROUNDS = 60


def made(count: int, seed: int = 0, draws: int = 3, most: float = 0.5) -> tuple[np.ndarray, np.ndarray, Limit]:
    generator = np.random.default_rng(seed)
    maps, noise = generator.random((count, 2, 3)), most * generator.random((count, draws))
    correct = generator.random(count) < 0.9
    found = kept_limit(noise, correct, lambda rows: torch.from_numpy(maps[list(rows)]))
    return maps[correct], noise[correct], found


def slow_limits(maps: np.ndarray, noise: np.ndarray, sample: list[int]) -> dict[str, float]:
    """Each limit of one sample, whose images are listed as often as they were drawn."""
    pairs = sorted(float(np.abs(maps[i] - maps[j]).mean()) for i in sample for j in sample if i != j)
    count = len(maps)
    average = [float(np.abs(maps[i] - (maps.sum(0) - maps[i]) / (count - 1)).mean()) for i in sample]
    return {
        "noise": float(np.quantile(noise[sample].reshape(-1), 0.95)),
        "other": largest_limit(np.array(pairs)),
        "average": largest_limit(np.array(sorted(average))),
    }


@pytest.mark.parametrize("most", [0.1, 0.5])
def test_against_a_slow_bootstrap(most: float) -> None:
    maps, noise, limit = made(24, most=most)
    count = len(maps)
    intervals = JointIntervals({"cam": limit}, rounds=ROUNDS, seed=4)
    generator = np.random.default_rng(7)
    success = generator.random(24) < 0.8
    first, second = (Outcome(success, {"cam": 0.4 * generator.random(24)}) for _ in range(2))
    drawn = intervals.drawn
    assert drawn.shape == (count, ROUNDS)
    assert drawn.sum(0).tolist() == [count] * ROUNDS
    joint, gaps, other, average = [], [], [], []
    spread: list[list[tuple[float, float]]] = [[], []]
    stretch = stats.t.ppf(0.975, count - 1) / stats.norm.ppf(0.975) * (count / (count - 1)) ** 0.5
    for number in range(ROUNDS):
        sample = np.repeat(np.arange(count), drawn[:, number]).tolist()
        slow = slow_limits(maps, noise, sample)
        one = drawn[:, [number]]
        assert resampling.noise_limits(noise, one)[0] == pytest.approx(slow["noise"])
        assert resampling.pair_limits(limit.chance, one)[0] == pytest.approx(slow["other"])
        assert resampling.average_limits(limit.chance, one)[0] == pytest.approx(slow["average"])
        least = min(slow.values())
        assert intervals.resampled("cam")[number] == pytest.approx(least)

        def shares_below(bound: float, sample: list[int] = sample) -> tuple[float, float]:
            one, other = (
                np.mean([success[limit.correct][i] and each.distances["cam"][limit.correct][i] < bound for i in sample])
                for each in (first, second)
            )
            return float(one), float(other)

        shares = shares_below(least)
        for ways, power in zip(spread, (stretch, -stretch), strict=True):
            bent = limit.by_noise * (slow["noise"] / limit.by_noise) ** power
            ways.append(shares_below(min(bent, slow["other"], slow["average"])))
        joint.append(shares[0])
        gaps.append(shares[0] - shares[1])
        pairs = [np.abs(maps[i] - maps[j]).mean() < least - 1e-12 for i in sample for j in sample if i != j]
        other.append(np.mean(pairs))
        average.append(np.mean([limit.chance.average[i] < least - 1e-12 for i in sample]))
    ours, theirs = (intervals.shares(each, intervals.resampled) for each in (first, second))
    assert ours.tolist() == pytest.approx(joint)
    assert (ours - theirs).tolist() == pytest.approx(gaps)
    assert max(*other, *average) <= 0.05, "in every sample"
    found = intervals.chance["cam"]
    low, high = np.quantile(other, [0.025, 0.975])
    if low == high:  # no width: then the score interval
        high = metrics.score_interval(0.0, count).high or 0.0
        assert found["other"].mean == 0
    assert [found["other"].low, found["other"].high] == pytest.approx([low, high])
    near = limit.chance.average < limit.values[limit.correct]
    held = (drawn * near[:, None]).sum(0) / count
    low, high = np.quantile(average, [0.025, 0.975]) - np.quantile(held, [0.025, 0.975])
    alone = metrics.rate(near)
    assert found["average"].low == pytest.approx(max(0.0, (alone.low or 0) + min(0, low)))
    assert found["average"].high == pytest.approx(min(1.0, (alone.high or 0) + max(0, high)))
    for found, outcomes, least in ((intervals.joint(first), (first,), 0.0), (intervals.gap(first, second), None, -1.0)):
        flags = [intervals.flags(each)[limit.correct] for each in outcomes or (first, second)]
        alone = metrics.rate(flags[0]) if outcomes else metrics.rate_difference(*flags)
        fixed = np.array([[(drawn[:, r] * each).sum() / count for r in range(ROUNDS)] for each in flags])
        steady = fixed[0] if outcomes else fixed[0] - fixed[1]
        free = [[one if outcomes else one - other for one, other in ways] for ways in spread]
        below, above = (
            np.quantile(free, [0.025, 0.975], axis=1) - np.quantile(steady, [0.025, 0.975])[:, None]
        ).tolist()
        if outcomes:
            below = below[:1]  # mirrored limits are for the upper bound alone
        assert found.mean == alone.mean
        assert found.low == pytest.approx(max(least, (alone.low or 0) + min(0, *below)))
        assert found.high == pytest.approx(min(1.0, (alone.high or 0) + max(0, *above)))


def test_a_lead_on_every_image_has_a_width() -> None:
    """A bootstrap of equal differences would say: certainly 100 points."""
    maps, _, limit = made(24, most=0.1)
    attack, control = (Outcome(np.full(24, won), {"cam": np.zeros(24)}) for won in (True, False))
    found = JointIntervals({"cam": limit}).gap(attack, control)
    least = metrics.rate([True] * len(maps)).low or 0
    assert [found.mean, found.low, found.high] == pytest.approx([1, 1 - 2**0.5 * (1 - least), 1])


def test_a_limit_that_moves_widens_the_interval_and_another_does_not() -> None:
    """Half of the distances lie just around the limit: which of them count is decided by the limit's own chance."""
    _, _, limit = made(60, most=0.1)
    steady = Outcome(np.ones(60, bool), {"cam": np.where(np.arange(60) % 2, 0.0, 0.9)})
    near = Outcome(np.ones(60, bool), {"cam": np.linspace(0.9, 1.1, 60) * limit.mean})
    intervals = JointIntervals({"cam": limit})
    fixed = metrics.rate(intervals.flags(steady)[limit.correct])
    assert intervals.joint(steady) == fixed
    alone, wide = metrics.rate(intervals.flags(near)[limit.correct]), intervals.joint(near)
    assert None not in (alone.low, alone.high, wide.low, wide.high)
    assert (wide.high or 0) - (wide.low or 0) > 1.2 * ((alone.high or 0) - (alone.low or 0))
    assert intervals.limit("cam").mean == limit.mean
    assert (intervals.limit("cam").low or 0) < limit.mean


def test_several_interpreters_at_once() -> None:
    _, _, first = made(40, seed=1)
    _, _, second = made(40, seed=1)
    intervals = JointIntervals({"cam": first, "grad": second})
    distances = {"cam": np.linspace(0, 0.4, 40), "grad": np.linspace(0.4, 0, 40)}
    both = Outcome(np.ones(40, bool), distances)
    each = [Outcome(np.ones(40, bool), {name: values}) for name, values in distances.items()]
    found = [intervals.flags(part) for part in each]
    assert intervals.flags(both).tolist() == (found[0] & found[1]).tolist()
    together, *alone = (intervals.shares(part, intervals.resampled) for part in (both, *each))
    assert (together <= np.minimum(*alone) + 1e-12).all()


def test_groups_of_many_images_have_the_totals_of_their_pairs() -> None:
    maps = torch.rand(23, 2, 2)
    found = chance(23, lambda rows: maps[list(rows)], most=6)
    drawn = resampling.draw(23, 9, seed=2)
    expected = [int((drawn[found.first, r].astype(int) * drawn[found.second, r]).sum()) for r in range(9)]
    assert resampling.pair_totals(found, drawn).tolist() == expected


def test_a_thousand_images_take_seconds() -> None:
    generator = np.random.default_rng(0)
    maps, noise = torch.rand(1000, 14, 14), 0.3 * generator.random((1000, 5))
    start = time.process_time()
    limit = kept_limit(noise, np.ones(1000, bool), lambda rows: maps[list(rows)])
    intervals = JointIntervals({"cam": limit})
    intervals.joint(Outcome(np.ones(1000, bool), {"cam": 0.3 * generator.random(1000)}))
    assert time.process_time() - start < 10, "about one second on an idle machine"
