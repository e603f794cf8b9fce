"""Detectors without a gradient: attacks that ask them, in Python and by ``--evade``, and what is known of budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import underfire as uf
from tests.detectors.conftest import EPS, Digits
from tests.runs.runs import Command, Written
from underfire.detectors import FittedDetector, evaluate, fit
from underfire.detectors.over_budget import POINT, courses
from underfire.errors import InputError

WHERE = ("attack", "--data", "digits:test", "--classifier", "digits-resnet", "--eps", EPS, "--no-page")


@pytest.fixture(scope="module")
def agreement(digits: Digits) -> FittedDetector:
    """It looks at CAM and Grad, and has no gradient."""
    ids = {"calibration_ids": digits.ids[60:], "benign_ids": digits.ids[:60]}
    return fit("map-agreement", digits.system, digits.images[60:], digits.images[:60], false_positives=0.3, **ids)


@pytest.fixture
def folder(agreement: FittedDetector, tmp_path: Path) -> Path:
    agreement.save(tmp_path / "agreement")
    return tmp_path / "agreement"


def test_the_term_asks_the_detector_itself(digits: Digits, agreement: FittedDetector) -> None:
    """An attack on CAM alone passes a detector that reads Grad, too."""
    system = digits.system.only(("cam",))
    labels = system.classifier.logits(digits.images).argmax(1)
    settings: dict[str, Any] = {"eps": EPS, "budget": 60, "targeted": False, "control": False}
    some, own = digits.images[:12], labels[:12]
    unaware = uf.attack(system, some, own, "square", **settings)
    aware = uf.attack(system, some, own, "square", evade=agreement.term(gradient=False), **settings)
    noticed = agreement.flags(aware.adversarial)
    assert int(aware.success.sum()) >= 8
    assert int((noticed & aware.success.cpu()).sum()) < int(
        (agreement.flags(unaware.adversarial) & unaware.success.cpu()).sum()
    )


def test_attacks_with_gradients_refuse_it(digits: Digits, agreement: FittedDetector) -> None:
    """Regression: a term that only asks was taken, changed nothing, and counted as knowing the detector."""
    with pytest.raises(InputError, match="Take an attack without gradients"):
        agreement.term()
    labels = digits.system.classifier.logits(digits.images[:2]).argmax(1)
    for attack in ({"attack": "auto", "budget": 2}, {"attack": "adv2", "steps": (1, 1)}):
        with pytest.raises(InputError, match=r"has no gradient, and attack .* takes gradients: take the attack square"):
            uf.attack(digits.system, digits.images[:2], labels, evade=agreement.term(gradient=False), **attack)


def test_a_score_is_asked_once_at_a_point(digits: Digits, agreement: FittedDetector) -> None:
    term = agreement.term(gradient=False)

    class At:
        def __init__(self) -> None:
            self.image, self.known = digits.images[:3], dict[str, torch.Tensor]()

    point: Any = At()
    expected = agreement.scores(digits.images[:3])
    assert torch.allclose(term(point).double(), (expected - agreement.threshold).clamp_min(0), atol=1e-5)
    assert torch.equal(term.evades(point), expected <= agreement.threshold)
    assert len(point.known) == 1


def test_the_folder_of_any_detector_goes_with_square(command: Command, folder: Path, tmp_path: Path) -> None:
    """``--evade`` asks it, ``evaluate`` calls the attack adaptive, and shows what more queries leave of it.

    However its folder is written.
    """
    runs = []
    (tmp_path / "beside").mkdir()
    for budget, named in ((2, folder), (30, tmp_path / "beside" / ".." / folder.name)):
        out = tmp_path / f"run{budget}"
        words = ("--attack", "square", "--untargeted", "--budget", budget, "--count", 8, "--evade", named)
        ended = command(*WHERE, "--interpreter", "cam", *words, "--out", out)
        assert ended.code == 0, ended.err
        runs.append(out)
    record = Written(runs[1]).run
    detector = uf.detectors.load(folder, uf.System(uf.classifiers.load("digits-resnet"), ["cam", "grad"]))
    assert f"digest='{detector.digest}'" in record["attacks"]["square"]
    found = evaluate(detector, runs)
    rows = [row for row in found.rows() if row["kind"] == "attack"]
    assert [row["adaptive"] for row in rows] == [True, True]
    assert [row["steps"] for row in rows] == [2, 30]
    (course,) = found.over_budget()
    assert [point["steps"] for point in course.points] == [2, 30]
    assert [point["run"] for point in course.points] == [str(out) for out in runs]
    assert course.points[1]["triple_success"] == rows[1]["triple_success"]
    ended = command("detect", "evaluate", folder, *runs, "--out", tmp_path / "scores")
    assert "map-agreement against square on cam with more steps" in ended.out
    assert "The attack knows the detector." in ended.out
    assert (tmp_path / "scores" / "detection.csv").read_text().splitlines()[0].endswith(",steps")


def test_gradients_are_refused_by_the_folder(command: Command, folder: Path, tmp_path: Path) -> None:
    words = ("--attack", "auto", "--budget", 2, "--count", 2, "--evade", folder)
    ended = command(*WHERE, "--interpreter", "cam,grad", *words, "--out", tmp_path / "run")
    assert ended.code == 2
    assert "--attack square" in " ".join(ended.err.split())


def row(**values: Any) -> dict[str, Any]:
    usual = dict.fromkeys(POINT) | {"detector": "d", "attack": "auto", "attacked_interpreters": "cam"}
    return usual | {"kind": "attack", "eps": 0.1, "adaptive": True, "steps": 10.0, "setup": {}} | values


def test_attacks_that_differ_in_more_than_steps_are_apart() -> None:
    others = ({"attack": "adv2"}, {"eps": 0.2}, {"adaptive": False}, {"detector": "e"}, {"attacked_interpreters": "g"})
    others = (*others, {"setup": {"targeted": False}})
    assert courses([row(), *(row(steps=20.0, **other) for other in others)]) == []
    assert courses([row(), row()]) == []
    assert courses([row(kind="control"), row(kind="control", steps=20.0)]) == []
    (found,) = courses([row(steps=20.0, n=5), row(n=6), row(steps=20.0, n=7)])
    assert [point["n"] for point in found.points] == [6, 5, 7]


def test_courses_say_in_what_they_differ() -> None:
    aims = ({"targeted": True, "data": "a (1)"}, {"targeted": False, "data": "a (1)"})
    rows = [row(steps=steps, setup=setup) for setup in aims for steps in (10.0, 20.0)]
    found = courses([*rows, row(detector="e", setup={"data": "b"}), row(detector="e", steps=20.0, setup={"data": "b"})])
    assert [course.told_by(found) for course in found] == [{"targeted": True}, {"targeted": False}, {}]
    assert found[1].setup == aims[1]
