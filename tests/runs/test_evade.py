"""``--evade`` and ``--attack adaptive`` on the command line, and in the files of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written
from underfire.errors import InputError

DIGITS = ("attack", "--data", "digits:test", "--classifier", "digits-resnet", "--count", "2", "--no-page")


def test_evading_on_the_command_line(command: Command, tmp_path: Path) -> None:
    words = ("--evade", "bit-depth:3<0.25,median:2=0.5", "--evade", "median:3", "--steps", "1,2", "--eps", "0.2")
    assert command(*DIGITS, *words, "--out", tmp_path / "run").code == 0
    run = Written(tmp_path / "run").run
    assert run["configuration"]["evade"] == ["bit-depth:3<0.25", "median:2<0.5", "median:3"]
    assert "Evade(" in run["attacks"]["adv2"]
    assert "thresholds=(0.25, 0.5, None)" in run["attacks"]["adv2"]
    assert "Evade(" not in run["attacks"]["bim"]


def test_an_adaptive_attack_on_the_command_line(command: Command, tmp_path: Path) -> None:
    for attack, length in (("adaptive", ("--steps", "1,2")), ("adaptive-auto", ("--budget", "3"))):
        assert command(*DIGITS, "--attack", attack, *length, "--out", tmp_path / attack).code == 0
        run = Written(tmp_path / attack).run
        assert run["configuration"]["target_class"] == "grid"
        assert "GridFirst(" in run["attacks"][attack]
        assert "Evade(" in run["attacks"][attack]


def test_the_folder_of_a_detector_is_written_down_as_thresholds(command: Command, tmp_path: Path) -> None:
    """Another detector in the same folder later does not change what this run says of itself."""
    record = {"detector": "squeezing", "settings": {"squeezers": ["median:2"]}, "threshold": 0.125}
    record["target"] = {"classifier_sha256": "a1"}
    (tmp_path / "detector").mkdir()
    (tmp_path / "detector" / "detector.json").write_text(json.dumps(record))
    config = small_config(evade=str(tmp_path / "detector"))
    assert config.evade == ("median:2<0.125", "fitted-for:a1")
    (tmp_path / "detector" / "detector.json").write_text(json.dumps(record | {"threshold": 0.5}))
    assert small_config(**config.to_dict()) == config
    ended = command(*DIGITS, "--evade", tmp_path, "--out", tmp_path / "run")
    assert ended.code != 0
    assert "a folder without" in " ".join(ended.err.split())


def test_several_radii_share_the_targets_of_the_grid(command: Command, tmp_path: Path) -> None:
    words = ("--attack", "adaptive", "--eps", "0.1,0.2", "--steps", "1,1")
    assert command(*DIGITS, *words, "--out", tmp_path / "run").code == 0
    assert sum(cell["kind"] == "attack" for cell in Written(tmp_path / "run").run["cells"]) == 2


def test_untargeted_attacks_need_no_grid() -> None:
    assert small_config(attack="adaptive", targeted=False).target_class == "random"
    assert small_config(attack="adaptive").target_class == "grid"
    assert small_config(attack="adaptive", target_class="least-likely").target_class == "least-likely"
    assert small_config().target_class == "random"
    with pytest.raises(InputError, match="'much' is no number"):
        small_config(evade="median:2<much")
