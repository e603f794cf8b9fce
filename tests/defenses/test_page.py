"""The commands of docs/defenses.md run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.runs.runs import make_command
from tests.test_docs import ROOT
from underfire.reports.losses import read_losses


def test_the_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = re.sub(r" \\\n\s+", " ", (ROOT / "docs" / "defenses.md").read_text())
    lines = re.findall(r"^underfire .*$", text, re.MULTILINE)
    assert [line.split()[1:3] for line in lines].count(["train", "robust"]) == 2
    assert len(lines) == 6
    said = {}
    for line in lines:
        ended = make_command(monkeypatch, capsys)(*shlex.split(line)[1:])
        assert ended.code == 0, f"{line}: {ended.err}"
        said[line.split()[-1]] = ended.out
    for name in ("robust/digits-resnet-robust.md", "aid/rts-aid-scenes-resnet.md"):
        assert "test images" in (tmp_path / "defenses" / name).read_text()
    in_two = tmp_path / "defenses" / "in-two"
    assert "`underfire train robust`, 2 processes" in (in_two / "digits-resnet-robust.md").read_text()
    assert len(read_losses(in_two / "losses.csv")["robust"]["loss"]) == 4
    assert (in_two / "losses.png").exists()
    assert "Written to defenses/in-two" in said["defenses/in-two"]
