"""A small campaign that several files compare theirs with, and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns.campaign import run_inline, write_campaign
from tests.runs.runs import Command, make_command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_campaign(tmp_path_factory.mktemp("file"))


@pytest.fixture(scope="session")
def whole(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign, run by one process without an interruption."""
    return run_inline(file, tmp_path_factory.mktemp("whole") / "out").path
