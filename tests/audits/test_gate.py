"""The gate decides by the bound of an interval, and says how many images would decide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from tests.audits.conftest import RADII
from underfire.audits import Audit, decide
from underfire.audits.baseline import compare, open_baseline
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
        low, high = sorted(roots.real)
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


def test_a_wider_interval_needs_more_images() -> None:
    """An interval of 100 images that is wider than Wilson's, by the limit's uncertainty, is never said to be enough."""
    plain = interval_of(0.8, 100)
    low = plain.low or 0.0
    assert low > 0.7
    needed = images_needed(Interval(0.8, 0.65, plain.high, 100), 0.7) or 0
    assert needed > 100
    assert (interval_of(0.8, needed).low or 0.0) - (low - 0.65) * (100 / needed) ** 0.5 >= 0.7


def test_equal_shares_are_never_decided() -> None:
    assert images_needed(interval_of(0.5, 20), 0.5) is None


def test_a_baseline(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    clear = replace(found, doubts=())
    earlier = open_baseline(tmp_path / "audit.json")
    assert [each.state for each in compare(clear, earlier)] == ["pass"] * 6
    worse = open_baseline(tmp_path / "audit.json")
    for each in worse["results"]:
        for image in each["images"]:
            image["fooled"] = not image["correct"]
    states = {(each.interpreter, each.eps): each.state for each in compare(clear, worse)}
    large = found.of("cam", RADII[1])
    assert large.fooled.sum() > 5
    assert states["cam", RADII[1]] == "fail"


@pytest.mark.parametrize(("lost", "state"), [(0, "pass"), (1, "investigate"), (8, "fail")])
def test_a_baseline_is_paired(found: Audit, tmp_path: Path, lost: int, state: str) -> None:
    """50 of 64 images against 58 is a failure if the images are the same; intervals of independent samples hold 0."""
    flags = np.arange(64) < 58
    image = {"label": 0, "correct": True}
    result = found.of("cam", RADII[0])
    now_kept = np.arange(64) < 58 - lost
    fewer = replace(
        result,
        correct=np.ones(64, dtype=bool),
        wrong=~now_kept,
        distances={"cam": np.where(now_kept, np.inf, 0.0)},
        limits={
            "cam": replace(
                result.limit,
                values=np.full(64, result.limit.mean),
                correct=np.ones(64, dtype=bool),
                noise=np.tile(result.limit.noise, (8, 1))[:64],
            )
        },
    )
    object.__setattr__(fewer, "joint", rate(now_kept))
    audit = replace(found, results=(fewer,), labels=(0,) * 64, doubts=())
    write_audit(found, (), tmp_path)
    earlier = open_baseline(tmp_path / "audit.json")
    earlier["results"] = [
        {"interpreter": "cam", "eps": RADII[0], "images": [{**image, "fooled": not each} for each in flags.tolist()]}
    ]
    (decision,) = compare(audit, earlier)
    assert decision.state == state
    if lost == 8:
        assert difference_of_independent(rate(now_kept), rate(flags)) > 0


def difference_of_independent(new: Interval, old: Interval) -> float:
    """The upper bound of the difference of independent rates (Newcombe 1998, method 10)."""
    assert new.mean is not None
    assert new.high is not None
    assert old.mean is not None
    assert old.low is not None
    return new.mean - old.mean + ((new.high - new.mean) ** 2 + (old.mean - old.low) ** 2) ** 0.5


def test_a_baseline_of_something_else_is_investigated(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    clear = replace(found, doubts=())
    earlier = open_baseline(tmp_path / "audit.json")
    relabelled = json.loads(json.dumps(earlier["results"]))
    relabelled[0]["images"][0]["label"] += 1
    for change, said in (
        ({"ensemble": "audit-0"}, "other attacks"),
        ({"attacks": earlier["attacks"][1:]}, "other attacks"),
        ({"images_sha256": "0"}, "other images"),
        ({"results": relabelled}, "images or labels"),
    ):
        (decision,) = compare(clear, earlier | change)
        assert decision.state == "investigate"
        assert said in decision.text
    other = compare(clear, earlier | {"interpreters": {**earlier["interpreters"], "grad": "Grad(0.5)"}})
    assert [each.state for each in other] == ["pass", "pass", *["investigate"] * 4]
    assert "other settings of cam+grad" in other[-1].text
    fewer = compare(clear, earlier | {"results": earlier["results"][1:]})
    assert [each.state for each in fewer] == ["investigate", *["pass"] * 5]
    assert "the baseline does not have cam at eps 0.05" in fewer[0].text
    now = compare(replace(clear, results=clear.results[1:]), earlier)
    assert [each.state for each in now] == [*["pass"] * 5, "investigate"]
    assert "the baseline has cam at eps 0.05, and this audit has not" in now[-1].text


def test_a_doubt_that_hides_attacks_passes_no_baseline(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    doubted = replace(found, doubts=(Doubt("gradients", "the gradient vanishes", True),))
    decisions = compare(doubted, open_baseline(tmp_path / "audit.json"))
    assert {each.state for each in decisions} == {"investigate"}
    assert all("the gradient vanishes" in each.text for each in decisions)
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
            (whole | {"results": [result | {"images": [{"label": 1, "correct": True}]}]}, "no fooled"),
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


@pytest.mark.usefixtures("controls_once")
def test_the_controls_of_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_gate() == ()
    monkeypatch.setattr("underfire.audits.controls.LIMIT", 0.0)  # a gate that cannot fail
    (wrong,) = check_gate()
    assert wrong.state == "investigate"
    assert "known to be fragile" in wrong.text
