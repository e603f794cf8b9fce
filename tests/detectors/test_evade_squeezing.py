"""``evade`` with the folder of a detector by squeezing: on its own classifier alone."""

from __future__ import annotations

from pathlib import Path

import pytest

import underfire as uf
from tests.detectors.conftest import EPS, Digits, changed
from tests.runs.runs import Command, Written
from underfire.detectors import fit

WORDS = ("attack", "--data", "digits:test", "--classifier", "digits-resnet", "--eps", EPS, "--no-page")
SHORT = ("--attack", "auto", "--budget", 2, "--count", 2)


def test_thresholds_of_another_classifier_are_refused(command: Command, digits: Digits, tmp_path: Path) -> None:
    """Regression: the folder's squeezers and threshold were taken, whatever classifier they were fitted for."""
    foreign = changed(digits.system)
    for name, system in (("own", digits.system), ("foreign", foreign)):
        fit("squeezing:median:2", system, digits.images[80:]).save(tmp_path / name)
    ended = command(*WORDS, *SHORT, "--evade", tmp_path / "own", "--out", tmp_path / "run")
    assert ended.code == 0, ended.err
    run = Written(tmp_path / "run").run
    assert run["configuration"]["evade"][1] == f"fitted-for:{digits.system.classifier.sha256()}"
    assert "Evade(" in run["attacks"]["auto"]
    assert "fitted-for" not in run["attacks"]["auto"]
    refused = command(*WORDS, *SHORT, "--evade", tmp_path / "foreign", "--out", tmp_path / "other")
    assert refused.code == 2
    assert "a detector that was fitted for another classifier" in " ".join(refused.err.split())
    assert not (tmp_path / "other").exists()
    for system, name in ((digits.system, "foreign"), (foreign, "own")):
        with pytest.raises(uf.errors.InputError, match="fitted for another classifier"):
            uf.attack(system, digits.images[:1], [0], "auto", evade=str(tmp_path / name), budget=2)
