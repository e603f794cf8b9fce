"""Tests of paired differences, and Holm's correction: closed forms, and replicas from the definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from underfire import metrics
from underfire.errors import InputError


def slow_holm(p_values: list[float]) -> list[float]:
    """As tables of statistics define it: the largest of the scaled p-values up to one's own rank."""
    ranked = sorted(range(len(p_values)), key=lambda place: (p_values[place], place))
    found = [0.0] * len(p_values)
    for rank, place in enumerate(ranked):
        scaled = [(len(p_values) - earlier) * p_values[ranked[earlier]] for earlier in range(rank + 1)]
        found[place] = min(1.0, max(scaled))
    return found


def test_holm_in_closed_form() -> None:
    assert metrics.holm([]) == []
    assert metrics.holm([0.3]) == [0.3]
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([0.6, 0.6, 0.6]) == [1.0, 1.0, 1.0]
    assert metrics.holm([0.02, 0.02]) == [0.04, 0.04]


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_the_definition(seed: int) -> None:
    values = np.random.default_rng(seed).uniform(0, 0.2, size=12).round(2).tolist()
    found = metrics.holm(values)
    assert found == pytest.approx(slow_holm(values))
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.asarray(found)[order]) >= 0).all()
    assert all(one <= other <= 1 for one, other in zip(values, found, strict=True))


@pytest.mark.parametrize("values", [[0.1, 1.2], [-0.1], [float("nan")], [[0.1]]])
def test_holm_refuses_what_is_no_p_value(values: list[float]) -> None:
    with pytest.raises(InputError, match="p_values"):
        metrics.holm(values)


def test_few_differences_are_tested_with_all_signs() -> None:
    values = [0.3, -0.1, 0.25, 0.7, 0.05, 0.0, 0.2]
    means = [abs(np.mean(np.multiply(signs, values))) for signs in itertools.product((1, -1), repeat=len(values))]
    expected = np.mean([mean >= abs(np.mean(values)) - 1e-12 for mean in means])
    assert metrics.sign_flip_test(values) == pytest.approx(expected)
    assert metrics.sign_flip_test([-value for value in values]) == pytest.approx(expected)
    assert metrics.sign_flip_test([*values, 0.0, 0.0]) == pytest.approx(expected)


def test_flags_are_tested_as_by_mcnemar() -> None:
    from scipy.stats import binomtest

    for positive, negative in ((30, 10), (5, 5), (1, 0), (200, 160)):
        values = [1.0] * positive + [-1.0] * negative + [0.0] * 50
        assert metrics.sign_flip_test(values) == pytest.approx(binomtest(positive, positive + negative).pvalue)


def test_many_differences_are_tested_with_random_signs() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(0.3, 1, size=60)
    found = metrics.sign_flip_test(values)
    assert found == metrics.sign_flip_test(values)
    from scipy.stats import ttest_1samp

    assert found == pytest.approx(ttest_1samp(values, 0).pvalue, abs=0.02)
    assert metrics.sign_flip_test(np.abs(values) + 1, flips=99) == 0.01


def test_the_ends() -> None:
    assert metrics.sign_flip_test([]) is None
    assert metrics.sign_flip_test([0.0, 0.0]) == 1.0
    assert metrics.sign_flip_test([0.4]) == 1.0
    assert metrics.sign_flip_test([0.1] * 10) == pytest.approx(2 / 1024)
    with pytest.raises(InputError, match="NaN"):
        metrics.sign_flip_test([0.1, float("nan")])
    with pytest.raises(InputError, match="flips is 0"):
        metrics.sign_flip_test([0.1], flips=0)


def test_equal_attacks_are_seldom_told_apart() -> None:
    """Under the null hypothesis, at most 5 % of p-values are at most 0.05, but for chance."""
    generator = np.random.default_rng(1)
    found = [metrics.sign_flip_test(generator.normal(size=9)) for _ in range(400)]
    assert np.mean([value <= 0.05 for value in found if value is not None]) < 0.08
