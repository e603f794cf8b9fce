"""The page about detectors: its code and its commands run as they stand, and its table names every detector."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.runs.runs import make_command
from underfire.detectors import DETECTORS, load
from underfire.detectors.named import takes_argument

PAGE = Path(__file__).parents[1] / "docs" / "howto-detect.md"
TEXT = PAGE.read_text()


def test_its_code_and_its_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = make_command(monkeypatch, capsys)
    lines = re.findall(r"^underfire .*$", TEXT.replace("\\\n", ""), re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        ended = command(*shlex.split(line)[1:])
        assert ended.code == 0, ended.err
    assert sorted(path.name for path in Path("detectors/evaluation").iterdir()) == [
        *("detection.csv", "detection.json", "scores.csv")
    ]
    use, restored, own = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    space: dict[str, Any] = {}
    exec(compile(use, PAGE.name, "exec"), space)
    assert load("detectors/bits", space["system"]).threshold == space["detector"].threshold
    exec(compile(restored, PAGE.name, "exec"), space)
    assert 0 < float(space["found"].map_after_jpeg_75["cam"].mean()) < 1
    Path("my_detector.py").write_text(own)
    fit = ("detect", "fit", "--data", "digits:test", "--classifier", "digits-resnet", "--calibration", "40")
    ended = command(*fit, "--detector", "my_detector.py:Confidence", "--out", "detectors/own")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("confidence: ")


def test_its_table_names_every_detector() -> None:
    named = re.findall(r"^\| `([a-z-]+)[`:]", TEXT, re.MULTILINE)
    assert sorted(named) == sorted(DETECTORS)
    with_argument = {name for name in DETECTORS if re.search(rf"`{name}:", TEXT)}
    assert with_argument == {name for name in DETECTORS if takes_argument(name)}
