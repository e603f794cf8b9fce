"""The current folder, ``.``, may be given as a run's folder, and has a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reports.fakes import Fake
from underfire.files import beside
from underfire.reports.exports import export
from underfire.runs import Run


def test_the_current_folder_as_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: ``Path(".")`` has no name, so that exports crashed, and reports named the run ''."""
    folder = Fake(count=2).write(tmp_path / "mine")
    monkeypatch.chdir(folder)
    assert Run(".").name == "mine"
    assert export(".", "huggingface") == tmp_path / "mine-huggingface"
    assert beside(Path("."), "-transfer") == tmp_path / "mine-transfer"
    assert beside(Path("a/.."), "-x") == tmp_path / "mine-x"
    assert beside(Path("runs/a"), "-x") == Path("runs/a-x")
