"""Measures and a detector that a user adds in one file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

import underfire as uf
from tests.runs.conftest import small_config
from underfire.attacks import MEASURES, AttackResult, Measure
from underfire.attacks.judge import Judgement
from underfire.attacks.measures import TAKEN, chosen_measures
from underfire.errors import InputError
from underfire.runs import run_attack
from underfire.runs.columns import AFTER, BEFORE

SOURCE = '''
import torch.nn.functional as F

import underfire as uf
from underfire.attacks import Measure


def brightest(seen):
    return seen.images.flatten(1).amax(1)


def second_moment(seen, interpreter):
    return seen.maps[interpreter].square().mean((1, 2))


def doubtful(seen):
    return None if seen.outcome is None else seen.outcome.steps


BRIGHTEST = Measure("brightest", "image", "float", "brightest", "largest pixel value", compute=brightest)
MOMENT = Measure("moment", "map", "float", "moment", "mean square of the map", compute=second_moment)
OWN_STEPS = Measure("own_steps", "image", "int", "steps", "steps of attacks alone", compute=doubtful)
WRONG = Measure("wrong", "image", "float", "wrong", "one value for all", compute=lambda seen: seen.images.mean())
TAKEN = Measure("ssim", "image", "float", "ssim", "another one", compute=brightest)


class Squeezing:
    """Feature squeezing (Xu et al. 2018): how far the prediction moves if the bit depth is reduced."""

    def __init__(self, classifier, bits):
        self.classifier, self.steps = classifier, 2**bits - 1

    def score(self, seen):
        squeezed = (seen.images * self.steps).round() / self.steps
        before, after = (self.classifier.logits(each).softmax(1) for each in (seen.images, squeezed))
        return (before - after).abs().sum(1)


def detector():
    score = Squeezing(uf.classifiers.load("digits-resnet"), bits=2).score
    return Measure("squeeze_score", "image", "float", "squeezing", "|p(x) - p(squeezed x)|_1", compute=score)
'''


def test_measures_and_a_detector(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE)
    file = str(tmp_path / "mine.py")
    names = [f"{file}:{name}" for name in ("BRIGHTEST", "MOMENT", "OWN_STEPS", "detector")]
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(8))
    images, labels = batch.images, classifier.logits(batch.images).argmax(1)
    found = uf.attack(classifier, images, labels, eps=0.2, steps=(3, 6), readers="grad", measures=names)
    assert torch.equal(found.brightest, found.adversarial.flatten(1).amax(1))
    assert torch.equal(found.moment["grad"], found.maps["grad"].square().mean((1, 2)))
    assert set(found.moment) == {"cam", "grad"}
    assert torch.equal(found.own_steps, found.steps)
    assert "own_steps" not in found.controls["noise"].values, "unknown is left out, and no made-up number"
    for judged, seen in ((found.controls["clean"], found.images), (found, found.adversarial)):
        coarse = (seen * 3).round() / 3
        expected = (classifier.logits(seen).softmax(1) - classifier.logits(coarse).softmax(1)).abs().sum(1)
        assert torch.allclose(judged.squeeze_score, expected, atol=1e-6)
        assert bool((judged.squeeze_score > 0).any())
    plain = uf.attack(classifier, images, labels, eps=0.2, steps=(3, 6), readers="grad", control=False)
    assert torch.equal(plain.adversarial, found.adversarial)
    with pytest.raises(AttributeError, match="no measure 'brightest'; known: success"):
        _ = plain.brightest
    with pytest.raises(InputError, match=r"measure 'wrong' returns shape \(\); expected a tensor of 8 values"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=[f"{file}:WRONG"])
    with pytest.raises(InputError, match="measure 'ssim' exists already"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=[f"{file}:TAKEN"])
    with pytest.raises(InputError, match="unknown measure 'brightness'"):
        uf.attack(classifier, images, labels, steps=(1, 1), measures=["brightness"])


def test_names_that_results_use_already() -> None:
    """Regression: a measure called ``label`` attacked everything, and then no table could be written."""
    columns = {name for name, _ in (*BEFORE, *AFTER)}
    attributes = {part.name for kind in (AttackResult, Judgement) for part in fields(kind)}
    methods = {name for name in dir(AttackResult) if not name.startswith("_")}
    joint = {name for name in attributes | methods if name.startswith("joint_success")}
    assert (columns | attributes | methods) - joint - {*MEASURES} <= TAKEN
    for name in (*TAKEN, *joint, "joint_success_of_mine", "_replace"):
        with pytest.raises(InputError, match=f"measure '{name}' (has a name that results use|exists) already"):
            chosen_measures([Measure(name, "image", "float", "x", "x", compute=lambda seen: seen.labels)])


def test_entries_of_summaries_are_no_measures(tmp_path: Path) -> None:
    summary = run_attack(small_config(), tmp_path / "run")
    entries = {*summary["interpreters"]["cam"]["attacks"]["adv2"]} - {*MEASURES}
    assert {name for name in entries if not name.startswith("joint_success")} <= TAKEN


@pytest.mark.parametrize("compute", [None, 3])
def test_a_measure_without_a_function(compute: Any) -> None:
    """Regression: it was left out without a word."""
    with pytest.raises(InputError, match=f"measure 'mine' has compute={compute}; expected a function"):
        chosen_measures([Measure("mine", "image", "float", "x", "x", compute=compute)])


@pytest.mark.parametrize("wrong", [{"per": "pixel"}, {"kind": "text"}, {"better": "more"}])
def test_settings_of_measures(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is '{next(iter(wrong.values()))}'; expected '"):
        Measure(**({"name": "x", "per": "image", "kind": "float", "heading": "x", "meaning": "x"} | wrong))


def test_measures_that_are_none() -> None:
    with pytest.raises(InputError, match="measure is an object of type int; expected a Measure"):
        chosen_measures([3])
