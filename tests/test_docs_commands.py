"""The commands of how-to pages that say so run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.runs.runs import make_command
from tests.test_docs import ROOT, python_blocks

TRANSFER, REPRODUCE = (ROOT / "docs" / f"howto-{name}.md" for name in ("transfer", "reproduce"))


def test_commands_and_code_on_transfer_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^underfire .*$", TRANSFER.read_text(), re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        ended = make_command(monkeypatch, capsys)(*shlex.split(line)[1:])
        assert ended.code == 0, ended.err
    assert Path("runs/others/transfer.csv").exists()
    assert Path("runs/networks/scenes-densenet/page.html").exists()
    assert Path("runs/scenes/outliers.csv").exists()
    (block,) = python_blocks(TRANSFER)
    exec(compile(block, TRANSFER.name, "exec"), {})
    assert "adv2-cam grad " in capsys.readouterr().out


def test_commands_on_reproducing_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^underfire .*$", REPRODUCE.read_text(), re.MULTILINE)
    assert len(lines) == 7
    for line in lines:
        ended = make_command(monkeypatch, capsys)(*shlex.split(line)[1:])
        assert ended.code == 0, ended.err
    for name in ("reproduction.html", "reproduction.md", "findings.parquet", "charts", "transfers"):
        assert (tmp_path / "runs" / "adv2" / name).exists()
    assert (tmp_path / "runs" / "table4" / "detection.parquet").exists()
    for name in ("aid", "table7"):
        assert (tmp_path / "runs" / name / "defense.parquet").exists()
