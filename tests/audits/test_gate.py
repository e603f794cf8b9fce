"""The gate decides by the bound of an interval, and says how many images would decide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from tests.audits.conftest import RADII, Given
from underfire.audits import Audit, decide
from underfire.audits.baseline import compare, difference, open_baseline
from underfire.audits.controls import check_gate
from underfire.audits.doubt import Doubt
from underfire.audits.gate import decide_all, images_needed
from underfire.audits.writing import write_audit
from underfire.errors import InputError
from underfire.metrics import Interval, rate


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

    few = interval_of(mean, 4)
    needed = images_needed(few, limit)
    assert needed is not None
    assert decides(needed)
    assert needed == 5 or not decides(needed - 1)


def interval_of(mean: float, n: int) -> Interval:
    z = NormalDist().inv_cdf(0.975)
    roots = np.roots([1 + z * z / n, -(2 * mean + z * z / n), mean * mean])
    return Interval(mean, float(min(roots.real)), float(max(roots.real)), n)


def test_a_wider_interval_needs_more_images() -> None:
    """An interval of 100 images that is wider than Wilson's, by the limit's uncertainty, is never said to be enough."""
    plain = interval_of(0.8, 100)
    assert plain.low is not None
    assert plain.low > 0.7
    wide = Interval(0.8, 0.65, plain.high, 100)
    needed = images_needed(wide, 0.7)
    assert needed is not None
    assert needed > 100
    own = interval_of(0.8, needed).low
    assert own is not None
    assert own - (plain.low - 0.65) * (100 / needed) ** 0.5 >= 0.7


def test_equal_shares_are_never_decided() -> None:
    assert images_needed(interval_of(0.5, 20), 0.5) is None


def test_the_difference_of_two_rates() -> None:
    """Newcombe (1998), table II (a): 56 of 70 against 48 of 80, method 10: 0.0524 to 0.3339."""
    low, high = difference(rate([True] * 56 + [False] * 14), rate([True] * 48 + [False] * 32))
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_a_baseline(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    clear = replace(found, doubts=())
    earlier = open_baseline(tmp_path / "audit.json")
    assert [each.state for each in compare(clear, earlier)] == ["pass"] * 4
    worse = open_baseline(tmp_path / "audit.json")
    for each in worse["results"]:
        each["joint_robust_accuracy"] |= {"mean": 1.0, "low": 0.99, "high": 1.0, "n": 400}
    states = {(each.interpreter, each.eps): each.state for each in compare(clear, worse)}
    assert states["cam", RADII[1]] == "fail"


def test_a_baseline_of_something_else_is_investigated(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    clear = replace(found, doubts=())
    earlier = open_baseline(tmp_path / "audit.json")
    for change, said in (
        ({"ensemble": "audit-0"}, "other attacks"),
        ({"attacks": earlier["attacks"][1:]}, "other attacks"),
        ({"images_sha256": "0"}, "other images"),
    ):
        (decision,) = compare(clear, earlier | change)
        assert decision.state == "investigate"
        assert said in decision.text
    fewer = compare(clear, earlier | {"results": earlier["results"][1:]})
    assert [each.state for each in fewer] == ["investigate", "pass", "pass", "pass"]
    assert "the baseline does not have cam at eps 0.05" in fewer[0].text
    now = compare(replace(clear, results=clear.results[1:]), earlier)
    assert [each.state for each in now] == ["pass", "pass", "pass", "investigate"]
    assert "the baseline has cam at eps 0.05, and this audit has not" in now[-1].text


def test_a_doubt_that_hides_attacks_passes_no_baseline(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    doubted = replace(found, doubts=(Doubt("gradients", "the gradient vanishes", True),))
    decisions = compare(doubted, open_baseline(tmp_path / "audit.json"))
    assert {each.state for each in decisions} == {"investigate"}
    assert {each.cause for each in decisions} == {"doubt"}
    whole, *_ = decide_all(doubted, None, open_baseline(tmp_path / "audit.json"))
    assert whole.exit_code == 3


def test_a_baseline_that_is_none(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    whole = json.loads((tmp_path / "audit.json").read_text())
    result = whole["results"][0]
    for number, (content, said) in enumerate(
        [
            ([], "no table"),
            ({}, "no ensemble"),
            (whole | {"results": []}, "no results"),
            (whole | {"results": [result | {"eps": "8/255"}]}, "no eps"),
            (whole | {"results": [result | {"joint_robust_accuracy": {"mean": None}}]}, "no mean"),
        ]
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=rf"baseline .* cannot be read as an audit \(.*{said}"):
            open_baseline(path)
    with pytest.raises(InputError, match="FileNotFoundError"):
        open_baseline(tmp_path / "missing.json")


def test_nothing_to_decide_by(found: Audit) -> None:
    with pytest.raises(InputError, match="nothing to decide by"):
        decide_all(found, None)


def test_no_share(found: Audit) -> None:
    with pytest.raises(InputError, match="fail_below is 20"):
        decide(found, 20)


def test_the_controls_of_the_gate(digits: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_gate() == ()
    monkeypatch.setattr("underfire.audits.controls.LIMIT", 0.0)  # a gate that cannot fail
    (wrong,) = check_gate()
    assert wrong.state == "investigate"
    assert "known to be fragile" in wrong.text
