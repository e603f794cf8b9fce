"""The comparison with an earlier audit: paired, and with the uncertainty of both limits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.audits.conftest import RADII
from underfire.audits import Audit
from underfire.audits.baseline import compare, open_baseline
from underfire.audits.doubt import Doubt
from underfire.audits.gate import decide_all
from underfire.audits.writing import write_audit
from underfire.errors import InputError
from underfire.metrics import Interval, rate, rate_difference


def test_a_baseline(found: Audit, tmp_path: Path) -> None:
    write_audit(found, (), tmp_path)
    clear = replace(found, doubts=())
    earlier = open_baseline(tmp_path / "audit.json")
    assert [each.state for each in compare(clear, earlier)] == ["pass"] * 6
    worse = open_baseline(tmp_path / "audit.json")
    for each in worse["results"]:
        for image in each["images"]:
            image["fooled"] = not image["correct"]
        each["joint_robust_accuracy"] = rate([image["correct"] for image in each["images"]]).to_dict()
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
        {
            "interpreter": "cam",
            "eps": RADII[0],
            "images": [{**image, "fooled": not each} for each in flags.tolist()],
            "joint_robust_accuracy": rate(flags).to_dict(),
        }
    ]
    (decision,) = compare(audit, earlier)
    assert decision.state == state
    if lost == 8:
        assert difference_of_independent(rate(now_kept), rate(flags)) > 0


def test_a_baseline_counts_the_uncertainty_of_both_limits(found: Audit, tmp_path: Path) -> None:
    """Regression: 50 of 64 images against 58 was a failure, however little was known of where the limits lie."""
    now_kept, was_kept = np.arange(64) < 50, np.arange(64) < 58
    result = replace(
        found.of("cam", RADII[0]),
        correct=np.ones(64, dtype=bool),
        wrong=~now_kept,
        distances={"cam": np.where(now_kept, np.inf, 0.0)},
        limits={"cam": replace(found.of("cam", RADII[0]).limit, values=np.ones(64), correct=np.ones(64, dtype=bool))},
    )
    write_audit(found, (), tmp_path)
    earlier = open_baseline(tmp_path / "audit.json")
    was, now = rate(was_kept), rate(now_kept)
    assert was.low is not None
    assert now.high is not None
    for more, state in (((0.0, 0.0), "fail"), ((0.02, 0.0), "fail"), ((0.1, 0.1), "investigate")):
        object.__setattr__(result, "joint", replace(now, high=now.high + more[0]))
        earlier["results"] = [
            {
                "interpreter": "cam",
                "eps": RADII[0],
                "images": [{"label": 0, "correct": True, "fooled": not each} for each in was_kept.tolist()],
                "joint_robust_accuracy": replace(was, low=was.low - more[1]).to_dict(),
            }
        ]
        (decision,) = compare(replace(found, results=(result,), labels=(0,) * 64, doubts=()), earlier)
        assert decision.state == state
        high = (rate_difference(now_kept, was_kept).high or 0.0) + float(np.hypot(*more))
        assert f", {high:+.3f}]" in decision.text


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
            (whole | {"results": [result | {"joint_robust_accuracy": {"low": 0.1}}]}, "an interval has no high"),
        ]
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=rf"baseline .* cannot be read as an audit \(.*{said}"):
            open_baseline(path)
    with pytest.raises(InputError, match="FileNotFoundError"):
        open_baseline(tmp_path / "missing.json")
