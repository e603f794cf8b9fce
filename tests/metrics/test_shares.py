"""Exact intervals of shares, and arguments of statistics that make no sense."""

from __future__ import annotations

import pytest
import scipy.stats

from underfire.errors import InputError
from underfire.metrics import exact_interval, rank_correlation, score_interval


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 20), (1, 20), (7, 20), (20, 20), (3, 200)])
def test_the_exact_interval_is_that_of_scipy(hits: int, n: int) -> None:
    found = exact_interval(hits / n, n)
    theirs = scipy.stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert (found.mean, found.n) == (hits / n, n)


def test_shares_of_no_image_and_impossible_levels() -> None:
    with pytest.raises(InputError, match="n is 0 and level is"):
        score_interval(0.5, 0)
    with pytest.raises(InputError, match=r"level is 1\.5"):
        score_interval(0.5, 4, 1.5)
    for how in ({"resamples": 0}, {"level": 2.0}):
        with pytest.raises(InputError, match=r"resamples is .* and level is"):
            rank_correlation(range(10), range(10), **how)
