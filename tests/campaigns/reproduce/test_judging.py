"""Claims are judged by paired intervals, and tables show the right findings at the right places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.campaigns.reproduce.made import made
from underfire import metrics
from underfire.campaigns.reproduce.findings import Finding
from underfire.campaigns.reproduce.judging import TESTS, Judgement, judge, sentence
from underfire.campaigns.reproduce.papers import Claim, paper
from underfire.campaigns.reproduce.selecting import arrange, shown
from underfire.metrics import Interval

ADV2 = paper("adv2")


def claim(**values: Any) -> Claim:
    return Claim(**{"name": "a", "item": "figure5", "text": "A.", "measure": "map_l1", "test": "lower"} | values)


PAIRED = claim(first={"attack": "adv2"}, second={"attack": "prediction-only"})


def judged(asked: Claim, *findings: Finding) -> Judgement:
    return judge(ADV2, asked, findings)


def test_the_difference_is_paired_by_image() -> None:
    hard = [0.1, 0.5, 0.9, 0.3]  # images differ far more than the attacks do
    first = made(values={"map_l1": [value - 0.02 - 0.001 * i for i, value in enumerate(hard)]})
    # The same images in another order, and one more: images without a partner do not count.
    second = made(
        "prediction-only", values={"map_l1": [0.7, *reversed(hard)]}, ids=["9", "3", "2", "1", "0"], beside="adv2"
    )
    found = judged(PAIRED, first, second)
    (case,) = found.cases
    expected = metrics.bootstrap_mean([-0.02 - 0.001 * i for i in range(4)])
    assert case.interval.n == 4
    assert np.allclose([case.interval.mean, case.interval.low, case.interval.high], list(vars(expected).values())[:3])
    assert case.verdict == found.verdict == "holds"
    assert judged(PAIRED.model_copy(update={"test": "higher"}), first, second).verdict == "does not hold"


def test_a_control_stands_beside_its_own_attack_alone() -> None:
    values = {"map_l1": [0.1, 0.2, 0.1, 0.2]}
    controls = [
        made("prediction-only", values={"map_l1": [x] * 4}, beside=name) for name, x in (("adv2", 0.5), ("auto", 0.0))
    ]
    assert judged(PAIRED, made(values=values), *controls).verdict == "holds"
    assert judged(PAIRED, made(values=values), controls[1]).verdict == "not measured"


@pytest.mark.parametrize(
    "other",
    [{"classifier": "second"}, {"interpreter": "grad"}, {"perturbation": "stadv"}, {"target_map": "patch"}],
)
def test_all_else_must_be_the_same(other: dict[str, str]) -> None:
    values = {"map_l1": [0.1, 0.2]}
    control = made("prediction-only", values=values, beside="adv2", **other)  # type: ignore[arg-type]
    assert not judged(PAIRED, made(values=values), control).cases


def test_transfer_compares_an_attack_with_attacks_on_other_interpreters() -> None:
    asked = claim(
        item="table9", first={"attack": "adv2", "reader": "own"}, second={"attack": "adv2", "interpreter": "other"}
    )
    own = made(interpreter="cam", values={"map_l1": [0.1, 0.2]})
    others = [
        made(interpreter="grad", reader="cam", values={"map_l1": [0.3, 0.4]}),
        made(interpreter="rts", reader="cam", values={"map_l1": [0.0, 0.1]}),
        made(interpreter="cam", reader="grad", values={"map_l1": [0.9, 0.9]}),
    ]
    found = judged(asked, own, *others)
    assert [(case.keys["against"], case.verdict) for case in found.cases] == [
        ("grad", "holds"),
        ("rts", "does not hold"),
    ]
    assert found.verdict == "holds in 1 of 2 cases, does not hold in 1"


def test_other_readers() -> None:
    about = paper("advedge")
    asked = claim(
        item="table4", first={"attack": "advedge", "reader": "other"}, second={"attack": "adv2", "reader": "other"}
    )
    findings = [
        made(attack, "cam", {"map_l1": [x, x]}, reader=reader)
        for attack, reader, x in (
            ("advedge", "cam", 0.5),
            ("adv2", "cam", 0.1),
            ("advedge", "grad", 0.2),
            ("adv2", "grad", 0.3),
        )
    ]
    (case,) = judge(about, asked, findings).cases
    assert (case.keys["reader"], case.first, case.second, case.verdict) == ("grad", 0.2, 0.3, "holds")


def test_one_side_against_a_number() -> None:
    asked = claim(item="table6", measure="success", first={"attack": "adv2"}, test="at least", margin=0.95)
    few, many = (made(values={"success": [1.0] * count}, target_map="patch") for count in (16, 400))
    assert judged(asked, few).verdict == "cannot be told"  # the score interval of 16 of 16 begins at 0.81
    assert judged(asked, many).verdict == "holds"
    assert judged(asked, made(values={"success": [0.0] * 16}, target_map="patch")).verdict == "does not hold"


def test_times_are_compared_as_a_ratio() -> None:
    asked = claim(
        measure="seconds", first={"attack": "adv2"}, second={"attack": "prediction-only"}, test="same time", margin=0.1
    )
    for seconds, verdict in ((2.1, "holds"), (2.5, "does not hold")):
        control = made("prediction-only", values={"seconds": [2.0, 2.0]}, beside="adv2")
        found = judged(asked, made(values={"seconds": [seconds, seconds]}), control)
        assert found.verdict == verdict
        interval = found.cases[0].interval
        assert interval.mean == pytest.approx(seconds / 2)
        assert (interval.low, interval.high) == (None, None), "one measurement has no interval"
        assert "of a single measurement without an interval, over 2 images" in sentence(found)


def test_times_of_several_batches_have_an_interval() -> None:
    asked = claim(
        measure="seconds", first={"attack": "adv2"}, second={"attack": "prediction-only"}, test="same time", margin=0.1
    )

    def compared(*ours: float) -> Judgement:
        """Judge times of shards of two images each; the second side takes 2 s in all of them."""
        control = made("prediction-only", values={"seconds": [2.0] * 2 * len(ours)}, beside="adv2")
        return judged(asked, made(values={"seconds": [each for each in ours for _ in range(2)]}), control)

    steady, unsteady = compared(2.0, 2.02, 2.04), compared(1.0, 2.02, 3.04)
    assert (steady.verdict, unsteady.verdict) == ("holds", "cannot be told")
    found = [each.cases[0].interval for each in (steady, unsteady)]
    assert [each.mean for each in found] == pytest.approx([1.01] * 2)
    student = stats.t.ppf(0.975, 2) * np.std([1.0, 2.02, 3.04], ddof=1) / 3**0.5 / 2
    assert (found[1].high or 0) - 1.01 == pytest.approx(student, rel=0.2)
    assert "of a single measurement" not in sentence(steady)


@given(st.sampled_from(sorted(TESTS)), *(st.floats(-2, 2) for _ in range(3)))
def test_a_wider_interval_never_turns_a_verdict_round(name: str, low: float, high: float, margin: float) -> None:
    low, high, margin = min(low, high), max(low, high), abs(margin)
    narrow, wide = (TESTS[name].judge(low - more, high + more, margin) for more in (0.0, 0.5))
    assert wide in (narrow, "cannot be told")


def test_one_image_tells_nothing_of_others() -> None:
    """Regression: the interval of one difference has no width, so that each image by itself had a verdict."""
    one, other = (
        made(name, values={"map_l1": [x]}, beside="adv2") for name, x in (("adv2", 0.1), ("prediction-only", 0.5))
    )
    assert judged(PAIRED, one, other).verdict == "cannot be told"


def test_words_for_a_mixed_verdict() -> None:
    pairs = [
        made(attack, interpreter, {"map_l1": values}, beside="adv2")
        for interpreter, ours, theirs in (
            ("cam", [0.1, 0.1, 0.1], [0.3, 0.31, 0.32]),
            ("grad", [0.5, 0.6, 0.5], [0.1, 0.1, 0.1]),
            ("rts", [0.1, 0.3, 0.2], [0.2, 0.1, 0.3]),
        )
        for attack, values in (("adv2", ours), ("prediction-only", theirs))
    ]
    found = judged(PAIRED, *pairs)
    assert found.verdict == "holds in 1 of 3 cases, does not hold in 1, cannot be told in 1"
    said = sentence(found)
    assert "It does not hold for net pgd grad." in said
    assert "It cannot be told for net pgd rts." in said
    assert "over 3 images" in said
    without = judged(PAIRED, *(each for each in pairs if each.interpreter != "cam"))
    assert without.verdict == "does not hold in 1 of 2 cases, cannot be told in 1"
    assert sentence(judged(PAIRED)) == "No run that is finished can tell."


def test_a_table_shows_each_finding_at_its_place() -> None:
    findings = [
        made(attack, interpreter, {"map_l1": [x]}, beside=beside)
        for attack, beside, interpreter, x in (
            ("auto", "auto", "cam", 1),
            ("prediction-only", "auto", "cam", 2),
            ("adv2", "adv2", "cam", 3),
            ("prediction-only", "adv2", "cam", 4),
            ("adv2", "adv2", "grad", 5),
        )
    ]
    item = next(each for each in ADV2.items if each.name == "figure5")
    arranged = arrange(item, shown(ADV2, item, findings))
    assert arranged.rows == [("net", "prediction-only"), ("net", "adv2"), ("net", "auto")]
    assert arranged.columns == [("grad",), ("cam",)]
    shown_at = {
        (row[1], column[0]): finding.by_image("map_l1")["0"] for (row, column), finding in arranged.cells.items()
    }
    assert shown_at == {("prediction-only", "cam"): 4, ("adv2", "cam"): 3, ("adv2", "grad"): 5, ("auto", "cam"): 1}


def test_a_control_is_one_row_of_a_transfer() -> None:
    item = next(each for each in ADV2.items if each.name == "table9")
    findings = [
        made(attack, attacked, {"map_l1": [0.1]}, reader=reader, beside="adv2")
        for attack in ("adv2", "prediction-only")
        for attacked in ("grad", "cam")
        for reader in ("grad", "cam")
    ]
    arranged = arrange(item, shown(ADV2, item, findings))
    assert arranged.rows == [("net", "prediction-only", ""), ("net", "adv2", "grad"), ("net", "adv2", "cam")]
    assert len(arranged.cells) == 6


def test_intervals_of_findings() -> None:
    joint = Interval(0.5, 0.2, 0.8, 2)
    finding = made(values={"success": [1, 0], "confidence": [0.9, float("nan")]}, intervals={"joint_success": joint})
    assert finding.interval("success") == metrics.rate([True, False])
    assert finding.interval("confidence") == Interval(0.9, 0.9, 0.9, 1)
    assert finding.by_image("confidence") == {"0": 0.9}
    assert finding.interval("joint_success") is joint
    assert finding.interval("map_l1") == Interval(None, None, None, 0)
