"""The gate decides by the bound of an interval, and says how many images would decide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from tests.audits.conftest import RADII, Given
from underfire.audits import Audit, decide
from underfire.audits.controls import check_gate
from underfire.audits.doubts import Doubt
from underfire.audits.gate import _difference, compare, decide_all, images_needed, open_baseline
from underfire.audits.writing import write_audit
from underfire.errors import InputError
from underfire.metrics import rate


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


def test_the_worst_counts(found: Audit) -> None:
    whole, *single = decide_all(replace(found, doubts=()), 0.5)
    states = {each.state for each in single}
    worst = "fail" if "fail" in states else "investigate" if "investigate" in states else "pass"
    assert len(single) == 4
    assert whole.state == worst
    assert whole.exit_code == {"pass": 0, "fail": 1, "investigate": 3}[worst]


@pytest.mark.parametrize(("mean", "limit"), [(0.9, 0.8), (0.3, 0.5), (0.55, 0.5), (0.0, 0.1), (1.0, 0.9)])
def test_the_number_that_decides_is_the_smallest(mean: float, limit: float) -> None:
    z = NormalDist().inv_cdf(0.975)

    def decides(n: int) -> bool:  # Wilson's bounds are the roots of (p - mean)^2 = z^2 p (1 - p) / n
        roots = np.roots([1 + z * z / n, -(2 * mean + z * z / n), mean * mean])
        low, high = sorted(roots.real)
        return bool(high < limit or low >= limit)

    needed = images_needed(mean, limit)
    assert needed is not None
    assert decides(needed)
    assert not decides(needed - 1)


def test_equal_shares_are_never_decided() -> None:
    assert images_needed(0.5, 0.5) is None


def test_the_difference_of_two_rates() -> None:
    """Newcombe (1998), table II (a): 56 of 70 against 48 of 80, method 10: 0.0524 to 0.3339."""
    low, high = _difference(rate([True] * 56 + [False] * 14), rate([True] * 48 + [False] * 32))
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_a_baseline(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    earlier = open_baseline(tmp_path / "audit.json")
    assert {each.state for each in compare(found, earlier)} == {"pass"}
    for each in earlier["results"]:
        each["joint_robust_accuracy"] |= {"mean": 1.0, "n": 400}
    states = {(each.interpreter, each.eps): each.state for each in compare(found, earlier)}
    assert states["cam", RADII[1]] == "fail"
    assert compare(found, {**earlier, "ensemble": "audit-0"})[0].state == "investigate"
    (tmp_path / "other.json").write_text("{}")
    for name in ("other.json", "missing.json"):
        with pytest.raises(InputError, match=r"baseline .* cannot be read as an audit"):
            open_baseline(tmp_path / name)


def test_no_share(found: Audit) -> None:
    with pytest.raises(InputError, match="fail_below is 20"):
        decide(found, 20)


def test_the_controls_of_the_gate(digits: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_gate() == ()
    monkeypatch.setattr("underfire.audits.controls.LIMIT", 0.0)  # a gate that cannot fail
    (wrong,) = check_gate()
    assert wrong.state == "investigate"
    assert "known to be fragile" in wrong.text
