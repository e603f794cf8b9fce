"""The gate decides by the bound of an interval, and says how many images would decide."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import beta, binom

from tests.audits.conftest import RADII
from underfire.audits import Audit, decide
from underfire.audits.controls import check_gate
from underfire.audits.doubt import Doubt
from underfire.audits.gate import certain, decide_all, images_needed
from underfire.errors import InputError
from underfire.metrics import Interval


def test_it_looks_at_the_bound(found: Audit) -> None:
    clear = replace(found, doubts=())
    for each in clear.results:
        interval = certain(each.joint)
        low, mean, high = interval.low, interval.mean, interval.high
        assert low is not None
        assert high is not None
        assert mean is not None
        for limit, state in ((max(0.0, low - 1e-6), "pass"), (min(1.0, high + 1e-6), "fail")):
            if low > 0 or state == "fail":
                (decision,) = (
                    one for one in decide(clear, limit) if (one.interpreter, one.eps) == (each.interpreter, each.eps)
                )
                assert decision.state == (state if state == "pass" or high < limit else "investigate")
        (middle,) = (
            one for one in decide(clear, (low + high) / 2) if (one.interpreter, one.eps) == (each.interpreter, each.eps)
        )
        assert middle.state == "investigate"


def exact(share: float, n: int) -> tuple[float, float]:
    """The interval of Clopper and Pearson, from the quantiles of beta distributions."""
    hits = share * n
    low = beta.ppf(0.025, hits, n - hits + 1) if hits > 0 else 0.0
    high = beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)


@pytest.mark.parametrize(
    ("hits", "limit", "state"),
    [
        (5, exact(5 / 12, 12)[0] - 1e-9, "pass"),
        (5, exact(5 / 12, 12)[0] + 1e-9, "investigate"),
        (5, exact(5 / 12, 12)[1] - 1e-9, "investigate"),
        (5, exact(5 / 12, 12)[1] + 1e-9, "fail"),
        (0, 0.0, "pass"),  # no share is below 0, and the limit itself is allowed
        (12, 1.0, "investigate"),
    ],
)
def test_the_limit_itself_is_allowed(found: Audit, hits: int, limit: float, state: str) -> None:
    result = replace(found.of("cam", RADII[0]))
    object.__setattr__(result, "joint", interval_of(hits / 12, 12))
    (decision,) = decide(replace(found, results=(result,), doubts=()), limit)
    assert decision.state == state


@pytest.mark.parametrize("n", [20, 32, 50, 64, 200])
@pytest.mark.parametrize("limit", [0.02, 0.1, 0.2, 0.5, 0.8, 0.95])
def test_a_model_at_the_limit_passes_or_fails_in_few_of_all_samples(n: int, limit: float) -> None:
    """Regression: with score intervals, 7.8 % of samples of 50 images with a true share of .02 passed that limit."""
    hits = np.arange(n + 1)
    ends = [certain(interval_of(each / n, n)) for each in hits.tolist()]
    passed = [each.low is not None and each.low >= limit for each in ends]
    failed = [each.high is not None and each.high < limit for each in ends]
    chances = binom.pmf(hits, n, limit)
    assert chances[passed].sum() <= 0.025
    assert chances[failed].sum() <= 0.025
    assert any(passed) == (limit**n <= 0.025)


def test_a_map_at_its_limit_is_not_kept(found: Audit) -> None:
    result = found.of("cam", RADII[1])
    place = int(np.flatnonzero(result.fooled)[0])
    nearest = result.nearest[place]
    for limit, fooled in ((nearest, False), (np.nextafter(nearest, 1), True), (0.0, False)):
        limits = {"cam": replace(result.limit, values=np.full(12, limit))}
        assert replace(result, limits=limits).fooled[place] == fooled


def test_a_doubt_that_hides_attacks_lets_nothing_pass_and_lets_fail(found: Audit) -> None:
    hiding = Doubt("gradients", "the gradient vanishes", True)
    soft = Doubt("images", "few images", False)
    robust = found.of("cam", RADII[0])
    assert robust.joint.low is not None
    assert robust.joint.low > 0.05
    with_soft, with_hiding = (replace(found, doubts=(doubt,), results=(robust,)) for doubt in (soft, hiding))
    assert decide(with_soft, 0.05)[0].state == "pass"
    assert decide(with_hiding, 0.05)[0].state == "investigate"
    assert "the gradient vanishes" in decide(with_hiding, 0.05)[0].text
    fragile = found.of("cam", RADII[1])
    assert decide(replace(found, doubts=(hiding,), results=(fragile,)), 0.99)[0].state == "fail"


def test_a_limit_inside_the_interval_does_not_hide_a_doubt(found: Audit) -> None:
    hiding = Doubt("gradients", "the gradient vanishes", True)
    result = found.of("cam", RADII[0])
    assert isinstance(result.joint.mean, float)
    (decision,) = decide(replace(found, doubts=(hiding,), results=(result,)), result.joint.mean)
    assert (decision.state, decision.cause, decision.needed) == ("investigate", "doubt", None)
    assert "the gradient vanishes" in decision.text


def test_the_worst_counts(found: Audit) -> None:
    whole, *single = decide_all(replace(found, doubts=()), 0.5)
    states = {each.state for each in single}
    worst = "fail" if "fail" in states else "investigate" if "investigate" in states else "pass"
    assert len(single) == 6
    assert whole.state == worst
    assert whole.exit_code == {"pass": 0, "fail": 1, "investigate": 3}[worst]


@pytest.mark.parametrize(("mean", "limit"), [(0.9, 0.8), (0.3, 0.5), (0.55, 0.5), (0.0, 0.1), (1.0, 0.9)])
def test_the_number_that_decides_is_the_smallest(mean: float, limit: float) -> None:
    def decides(n: int) -> bool:
        z = NormalDist().inv_cdf(0.975)
        low, high = mean + (z + NormalDist().inv_cdf(0.8)) / z * (np.array(exact(mean, n)) - mean)
        return bool(high < limit or low >= limit)

    few = interval_of(mean, 4)
    needed = images_needed(few, limit)
    assert isinstance(needed, int)
    assert decides(needed)
    assert needed == 5 or not decides(needed - 1)


def interval_of(mean: float, n: int) -> Interval:
    z = NormalDist().inv_cdf(0.975)
    roots = np.roots([1 + z * z / n, -(2 * mean + z * z / n), mean * mean])
    return Interval(mean, float(min(roots.real)), float(max(roots.real)), n)


def excludes(found: Interval, limit: float) -> bool:
    sure = certain(found)
    assert sure.low is not None
    assert sure.high is not None
    return sure.high < limit or sure.low >= limit


def test_a_wider_interval_needs_more_images() -> None:
    """An interval of 100 images that is wider than Wilson's, by the limit's uncertainty, is never said to be enough."""
    plain = interval_of(0.8, 100)
    low = plain.low or 0.0
    assert low > 0.7
    wider = Interval(0.8, 0.65, plain.high, 100)
    assert certain(wider).low == pytest.approx(exact(0.8, 100)[0] - (low - 0.65))
    assert certain(wider).high == pytest.approx(exact(0.8, 100)[1])
    needed = images_needed(wider, 0.7) or 0
    assert needed > (images_needed(plain, 0.7) or 0) > 100
    assert exact(0.8, needed)[0] - (low - 0.65) * (100 / needed) ** 0.5 >= 0.7


@pytest.mark.parametrize(("share", "limit"), [(0.15, 0.2), (0.9, 0.8), (0.5, 0.6), (0.05, 0.1)])
def test_so_many_images_decide_in_four_of_five_cases(share: float, limit: float) -> None:
    """Regression: at the number at which the interval of the same share just excludes the limit, every second does."""
    needed = images_needed(interval_of(share, 20), limit) or 0
    hits = np.random.default_rng(0).binomial(needed, share, 2000)
    decided = {count: excludes(interval_of(count / needed, needed), limit) for count in np.unique(hits)}
    assert 0.75 <= np.mean([decided[count] for count in hits]) <= 0.9


def test_equal_shares_are_never_decided() -> None:
    assert images_needed(interval_of(0.5, 20), 0.5) is None


def test_nothing_to_decide_by(found: Audit) -> None:
    with pytest.raises(InputError, match="nothing to decide by"):
        decide_all(found, None)


def test_no_share(found: Audit) -> None:
    with pytest.raises(InputError, match="fail_below is 20"):
        decide(found, 20)


@pytest.mark.usefixtures("controls_once")
def test_the_controls_of_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_gate() == ()
    monkeypatch.setattr("underfire.audits.controls.LIMIT", 0.0)  # a gate that cannot fail
    (wrong,) = check_gate()
    assert wrong.state == "investigate"
    assert "known to be fragile" in wrong.text
