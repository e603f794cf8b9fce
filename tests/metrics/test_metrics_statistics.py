"""Intervals: closed forms, coverage, and cases without a definition."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from underfire.errors import InputError
from underfire.metrics import (
    POSITIVE,
    UNIT,
    Interval,
    bootstrap_mean,
    interval,
    paired_difference,
    rate,
    rate_difference,
    statistics,
)


def test_interval_of_a_rate_equals_the_binomial_quantiles() -> None:
    # Resampled counts of 14 ones in 40 are Binomial(40, 0.35) exactly.
    values = torch.arange(40) < 14
    found = bootstrap_mean(values, resamples=20_000)
    assert (found.mean, found.n) == (14 / 40, 40)
    quantiles = scipy.stats.binom.ppf([0.025, 0.975], 40, 0.35) / 40
    assert [found.low, found.high] == pytest.approx(stretched(quantiles, 14 / 40, 40, 0.95))
    narrow = bootstrap_mean(values, resamples=20_000, level=0.5)
    quantiles = scipy.stats.binom.ppf([0.25, 0.75], 40, 0.35) / 40
    assert [narrow.low, narrow.high] == pytest.approx(stretched(quantiles, 14 / 40, 40, 0.5))


def stretched(ends: Sequence[float], mean: float, n: int, level: float) -> list[float]:
    """The ends of an interval, with arms as much longer as those of Student's interval are than the bootstrap's."""
    share = (1 + level) / 2
    arm = scipy.stats.t.ppf(share, n - 1) / n**0.5  # in standard deviations as estimated, with n - 1
    plain = scipy.stats.norm.ppf(share) * ((n - 1) / n) ** 0.5 / n**0.5  # the bootstrap's deviation has n
    return [mean + arm / plain * (end - mean) for end in ends]


def test_interval_equals_scipy_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=80)
    ours = bootstrap_mean(values, resamples=20_000)
    randomness = "rng" if "rng" in inspect.signature(scipy.stats.bootstrap).parameters else "random_state"
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", **{randomness: np.random.default_rng(2)}
    ).confidence_interval
    assert ours.mean == pytest.approx(values.mean())
    assert [ours.low, ours.high] == pytest.approx(stretched(theirs, values.mean(), 80, 0.95), abs=0.01)


@pytest.mark.parametrize(("level", "at_least", "at_most"), [(0.95, 0.92, 0.975), (0.8, 0.75, 0.85)])
def test_coverage_on_simulated_data(level: float, at_least: float, at_most: float) -> None:
    samples = np.random.default_rng(3).beta(2.0, 5.0, size=(500, 60))
    hits = 0
    for index, sample in enumerate(samples):
        interval = bootstrap_mean(sample, seed=index, resamples=800, level=level)
        assert interval.low is not None
        assert interval.high is not None
        hits += interval.low <= 2 / 7 <= interval.high
    assert at_least <= hits / len(samples) <= at_most


def test_same_seed_same_interval_and_memory_does_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).random(50)
    first = bootstrap_mean(values, seed=5)
    assert first == bootstrap_mean(values, seed=5)
    assert first != bootstrap_mean(values, seed=6)
    state = np.random.get_state()[1].copy()
    for memory in (1, 333, 10**9):
        monkeypatch.setattr(statistics, "MEMORY", memory)
        assert bootstrap_mean(values, seed=5) == first
    assert np.array_equal(state, np.random.get_state()[1])


def test_memory_is_bounded() -> None:
    values = np.random.default_rng(7).random(100_000)
    tracemalloc.start()
    bootstrap_mean(values, resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6  # all at once: 160e6


def test_few_values() -> None:
    assert bootstrap_mean([]) == Interval(None, None, None, 0)
    assert bootstrap_mean(torch.zeros(0)) == Interval(None, None, None, 0)
    assert bootstrap_mean([0.3]) == Interval(0.3, 0.3, 0.3, 1)
    assert bootstrap_mean([0.1] * 10) == Interval(0.1, 0.1, 0.1, 10)
    assert paired_difference([], []) == Interval(None, None, None, 0)


def test_an_interval_of_few_values_keeps_within_what_is_possible() -> None:
    """Without bounds that of two confidences reaches below zero and above one."""
    free = bootstrap_mean([0.02, 0.98])
    assert free.low is not None
    assert free.high is not None
    assert free.low < -0.5
    assert free.high > 1.5
    assert interval([0.02, 0.98], bounds=UNIT) == Interval(0.5, 0.0, 1.0, 2)
    assert interval([1.0, 7.0], bounds=POSITIVE).low == 0
    assert (interval([1.0, 7.0], bounds=POSITIVE).high or 0) > 10
    difference = paired_difference([0.0, 1.0], [1.0, 0.0], bounds=UNIT)
    assert difference == Interval(0.0, -1.0, 1.0, 2)
    many = np.linspace(0.2, 0.8, 40)
    assert interval(many, bounds=UNIT) == bootstrap_mean(many)


def test_values_beyond_their_bounds_by_a_rounding_stay_inside_the_interval() -> None:
    found = bootstrap_mean([0.5, 1.0000001], bounds=UNIT)
    assert found.high == 1.0000001


def test_interval_is_frozen_and_goes_to_json() -> None:
    interval = Interval(0.5, 0.25, 0.75, 4)
    assert interval.to_dict() == {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 4}
    assert json.loads(json.dumps(bootstrap_mean([]).to_dict())) == {
        "mean": None,
        "low": None,
        "high": None,
        "n": 0,
    }
    real = bootstrap_mean(torch.tensor([0.0, 1.0, 1.0])).to_dict()
    assert json.loads(json.dumps(real)) == real
    with pytest.raises(dataclasses.FrozenInstanceError):
        interval.mean = 1.0


def test_pairing_shows_smaller_differences_than_unpaired_means() -> None:
    generator = np.random.default_rng(8)
    hard = generator.random(200)
    a, b = hard + 0.005 + 0.005 * generator.standard_normal(200), hard
    paired = paired_difference(torch.from_numpy(a), b)
    assert paired == bootstrap_mean(a - b)
    assert paired.n == 200
    assert paired.low is not None
    assert 0 < paired.low < 0.005
    apart = bootstrap_mean(a), bootstrap_mean(b)
    assert apart[0].low is not None
    assert apart[1].high is not None
    assert apart[0].low < apart[1].high
    backwards = paired_difference(b, a)
    assert backwards.mean == pytest.approx(-(paired.mean or 0))


def test_options_reach_the_paired_interval() -> None:
    a, b = np.random.default_rng(9).random((2, 30))
    assert paired_difference(a, b, seed=3, resamples=99, level=0.5) == bootstrap_mean(a - b, 3, 99, 0.5)
    wide, narrow = paired_difference(a, b, level=0.99), paired_difference(a, b, level=0.5)
    assert (wide.high or 0) - (wide.low or 0) > 1.5 * ((narrow.high or 0) - (narrow.low or 0))


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_bounds_lie_in_order_around_the_mean(values: list[float]) -> None:
    found = bootstrap_mean(values, resamples=200)
    assert found.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    longest = scipy.stats.t.ppf(0.975, max(1, len(values) - 1)) * (max(values) - min(values)) + 1e-9
    assert found.high - found.low <= 2 * longest
    assert found.n == len(values)


@pytest.mark.parametrize(("count", "before"), [(3, 0.78), (4, 0.77), (8, 0.90)])
def test_few_values_are_covered_too(count: int, before: float) -> None:
    """Regression: plain percentiles of few values held the mean far too seldom (``before``; 3 values: .78)."""
    samples = np.random.default_rng(4).normal(size=(600, count))
    found = [bootstrap_mean(sample, seed=seed, resamples=400) for seed, sample in enumerate(samples)]
    covered = np.mean([(each.low or 0.0) <= 0 <= (each.high or 0.0) for each in found])
    assert covered >= 0.92
    factor = stretched([1.0], 0.0, count, 0.95)[0]
    plain = [((each.low or 0.0) / factor, (each.high or 0.0) / factor, each.mean or 0.0) for each in found]
    narrow = np.mean(
        [low + mean * (1 - 1 / factor) <= 0 <= high + mean * (1 - 1 / factor) for low, high, mean in plain]
    )
    assert narrow == pytest.approx(before, abs=0.05)


def test_arguments_that_cannot_be_used() -> None:
    for bad in ([0.1, math.nan], [math.inf, 0.1]):
        with pytest.raises(InputError, match="1 NaN or infinite values of 2"):
            bootstrap_mean(bad)
        with pytest.raises(InputError, match="b holds 1 NaN"):
            paired_difference([0.1, 0.2], torch.tensor(bad))
    with pytest.raises(InputError, match=r"shape \(2, 3\)"):
        bootstrap_mean(torch.zeros(2, 3))
    with pytest.raises(InputError, match=r"a has shape \(2,\) and b has shape \(3,\)"):
        paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="resamples"):
        bootstrap_mean([0.1], resamples=0)
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="level"):
            bootstrap_mean([0.1], level=level)


@pytest.mark.parametrize(("right", "count"), [(0, 16), (16, 16), (0, 1), (14, 40), (1, 1000)])
def test_rate_equals_scipys_score_interval(right: int, count: int) -> None:
    found = rate(torch.arange(count) < right)
    expected = scipy.stats.binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert (found.mean, found.n) == (right / count, count)
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=1e-9)
    assert found.high - found.low > 0  # also if all values are equal
    narrow = rate([True] * 5 + [False] * 5, level=0.5)
    expected = scipy.stats.binomtest(5, 10).proportion_ci(0.5, method="wilson")
    assert [narrow.low, narrow.high] == pytest.approx([expected.low, expected.high])


def test_booleans_get_a_rates_interval_and_numbers_a_means() -> None:
    flags = [True, False, True, True]
    for values in (flags, np.array(flags), torch.tensor(flags)):
        assert interval(values) == rate(flags)
    numbers = [0.4, 0.5, 0.6, 0.5]
    for values in (numbers, np.array(numbers), torch.tensor(numbers, dtype=torch.float64)):
        assert interval(values) == bootstrap_mean(numbers)
    assert rate([]) == Interval(None, None, None, 0)
    with pytest.raises(InputError, match="expected booleans"):
        rate([0.5])


def flags(both: int, first: int, second: int, none: int) -> tuple[list[bool], list[bool]]:
    """Two attacks on the same images: the numbers of images on which both succeed, one of them, and none."""
    a = [True] * (both + first) + [False] * (second + none)
    b = [True] * both + [False] * first + [True] * second + [False] * none
    return a, b


def test_rate_difference_equals_published_values() -> None:
    """Newcombe (1998), table II, method 10."""
    found = rate_difference(*flags(36, 12, 2, 0))
    assert [found.mean, found.low, found.high] == pytest.approx([0.2, 0.0569, 0.3404], abs=5e-5)


def test_rate_difference_has_a_width_if_all_images_agree() -> None:
    """Nothing correlates then: the distances of the bounds of the two rates add up as the sides of a triangle."""
    least = 1 - (rate([True] * 24).low or 0)
    found = rate_difference(*flags(0, 24, 0, 0))
    assert [found.mean, found.low, found.high] == pytest.approx([1, 1 - math.hypot(least, least), 1])
    for same in (flags(24, 0, 0, 0), flags(0, 0, 0, 24)):
        found = rate_difference(*same)
        assert [found.mean, found.low, found.high] == pytest.approx([0, -least, least])
    assert rate_difference([], []) == Interval(None, None, None, 0)


@pytest.mark.parametrize("shares", [(0.0, 0.97, 0.0), (0.3, 0.3, 0.05), (0.9, 0.08, 0.0), (0.0, 0.03, 0.01)])
@pytest.mark.parametrize("count", [10, 24, 100])
def test_rate_differences_cover_the_truth(count: int, shares: tuple[float, float, float]) -> None:
    """A bootstrap covers the first of these in 26 % of samples of 10 images."""
    generator, hits, found = np.random.default_rng(6), 0, Interval(None, None, None, 0)
    for cells in generator.multinomial(count, [*shares, 1 - sum(shares)], size=400):
        found = rate_difference(*flags(*cells.tolist()))
        assert found.mean is not None
        assert -1 <= (found.low or 0) <= found.mean <= (found.high or 0) <= 1
        hits += (found.low or 0) <= shares[1] - shares[2] <= (found.high or 0)
    assert hits / 400 >= 0.92


def test_rate_difference_of_swapped_attacks_is_negated_and_flags_take_it() -> None:
    a, b = flags(7, 9, 2, 5)
    found, swapped = rate_difference(a, b), rate_difference(b, a)
    assert [found.low, found.high] == pytest.approx([-(swapped.high or 0), -(swapped.low or 0)])
    assert found == paired_difference(torch.tensor(a), np.array(b))
    assert found != paired_difference(torch.tensor(a).float(), np.array(b)), "numbers have a bootstrap"
    assert (rate_difference(a, b, level=0.5).high or 0) < (found.high or 0)
    with pytest.raises(InputError, match=r"a has shape \(2,\) and b has shape \(3,\)"):
        rate_difference(a[:2], b[:3])
    with pytest.raises(InputError, match="expected booleans"):
        rate_difference([0.5], [1.0])
