"""The commands of docs/defenses.md run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.runs.runs import make_command
from tests.test_docs import ROOT


def test_the_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = re.sub(r" \\\n\s+", " ", (ROOT / "docs" / "defenses.md").read_text())
    lines = re.findall(r"^underfire .*$", text, re.MULTILINE)
    assert [line.split()[1:3] for line in lines].count(["train", "robust"]) == 1
    assert len(lines) == 5
    for line in lines:
        ended = make_command(monkeypatch, capsys)(*shlex.split(line)[1:])
        assert ended.code == 0, f"{line}: {ended.err}"
    for name in ("robust/digits-resnet-robust.md", "aid/rts-aid-scenes-resnet.md"):
        assert "test images" in (tmp_path / "defenses" / name).read_text()
