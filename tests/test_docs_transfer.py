"""The how-to page on transfer runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.runs.runs import make_command
from tests.test_docs import ROOT, python_blocks

PAGE = ROOT / "docs" / "howto-transfer.md"


def test_commands_and_code_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^underfire .*$", PAGE.read_text(), re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        ended = make_command(monkeypatch, capsys)(*shlex.split(line)[1:])
        assert ended.code == 0, ended.err
    assert Path("runs/others/transfer.csv").exists()
    assert Path("runs/networks/scenes-densenet/page.html").exists()
    assert Path("runs/scenes/outliers.csv").exists()
    (block,) = python_blocks(PAGE)
    exec(compile(block, PAGE.name, "exec"), {})
    assert "adv2-cam grad " in capsys.readouterr().out
