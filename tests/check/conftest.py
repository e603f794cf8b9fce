"""The command line, for tests of ``underfire check``."""

from __future__ import annotations

import pytest

from tests.runs.runs import Command, make_command


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)
