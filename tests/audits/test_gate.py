"""The gate decides by the bound of an interval, and says how many images would decide."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from tests.audits.conftest import RADII
from underfire.audits import Audit, decide
from underfire.audits.controls import check_gate
from underfire.audits.doubt import Doubt
from underfire.audits.gate import decide_all, images_needed
from underfire.errors import InputError
from underfire.metrics import Interval


def test_it_looks_at_the_bound(found: Audit) -> None:
    clear = replace(found, doubts=())
    for each in clear.results:
        low, mean, high = each.joint.low, each.joint.mean, each.joint.high
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


@pytest.mark.parametrize(
    ("low", "high", "limit", "state"),
    [
        (0.2, 0.6, 0.2, "pass"),  # the limit itself is allowed
        (0.1, 0.2, 0.2, "investigate"),  # it ends at the limit, and is not below it
        (0.1, 0.2, np.nextafter(0.2, 1), "fail"),
        (0.0, 0.3, 0.0, "pass"),  # no share is below 0
        (0.8, 1.0, 1.0, "investigate"),
    ],
)
def test_the_limit_itself_is_allowed(found: Audit, low: float, high: float, limit: float, state: str) -> None:
    result = replace(found.of("cam", RADII[0]))
    object.__setattr__(result, "joint", Interval((low + high) / 2, low, high, 12))
    (decision,) = decide(replace(found, results=(result,), doubts=()), limit)
    assert decision.state == state


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
    z = NormalDist().inv_cdf(0.975)

    def decides(n: int) -> bool:  # Wilson's bounds are the roots of (p - mean)^2 = z^2 p (1 - p) / n
        roots = np.roots([1 + z * z / n, -(2 * mean + z * z / n), mean * mean])
        low, high = mean + (z + NormalDist().inv_cdf(0.8)) / z * (np.sort(roots.real) - mean)
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
    assert found.low is not None
    assert found.high is not None
    return found.high < limit or found.low >= limit


def test_a_wider_interval_needs_more_images() -> None:
    """An interval of 100 images that is wider than Wilson's, by the limit's uncertainty, is never said to be enough."""
    plain = interval_of(0.8, 100)
    low = plain.low or 0.0
    assert low > 0.7
    needed = images_needed(Interval(0.8, 0.65, plain.high, 100), 0.7) or 0
    assert needed > 100
    assert (interval_of(0.8, needed).low or 0.0) - (low - 0.65) * (100 / needed) ** 0.5 >= 0.7


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
