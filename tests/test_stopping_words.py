"""After Ctrl-C, a command says whether it can go on, and with which option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runs.runs import make_command


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "said"),
    [("audit", "the same command goes on from there"), ("check", "begins anew"), ("attack", "--resume goes on")],
)
def test_it_says_how_to_go_on(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: of an audit, which goes on by itself, it said that the next start begins anew."""
    monkeypatch.setattr("underfire.data.ImageData.load", interrupted)
    words = (name, "--data", "digits:test", "--classifier", "digits-resnet", "--count", "2")
    ended = make_command(monkeypatch, capsys)(*words, *(() if name == "check" else ("--out", tmp_path / "out")))
    assert ended.code == 130
    assert said in " ".join(ended.err.split())
