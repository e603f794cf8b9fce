"""Curves for TensorBoard, with a writer in its place: it is no dependency."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from underfire.errors import InputError
from underfire.reports.tensorboard import curves
from underfire.training import Step


def test_each_value_of_each_step_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[tuple[str, float, int]] = []
    ends: list[str] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            ends.append(self.folder)

    fake = ModuleType("torch.utils.tensorboard")
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    with curves(tmp_path) as write:
        write(Step("robust", 1, 2, {"loss": 0.5, "clean": 0.25}))
        write(Step("robust", 2, 2, {"loss": 0.4}))
        assert ends == []
    assert written == [("robust/loss", 0.5, 1), ("robust/clean", 0.25, 1), ("robust/loss", 0.4, 2)]
    assert ends == [str(tmp_path / "tensorboard")]


def test_without_tensorboard_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="pip install tensorboard"), curves(tmp_path):
        pass
