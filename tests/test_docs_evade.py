"""The how-to page on detectors runs as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runs.runs import make_command
from tests.test_docs import ROOT, python_blocks
from underfire.transforms.squeezers import SQUEEZERS, squeezer

PAGE = ROOT / "docs" / "howto-evade.md"


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^underfire .*$", PAGE.read_text().replace("\\\n", ""), re.MULTILINE)
    assert len(lines) == 8
    for line in lines:
        ended = make_command(monkeypatch, capsys)(*shlex.split(line)[1:])
        assert ended.code == 0, ended.err
    assert len(list(Path("runs").glob("*/results.parquet"))) == 5


def test_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    first, second, third, file = python_blocks(PAGE)
    exec(compile(first, PAGE.name, "exec"), space)
    plain, adaptive = (float(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert adaptive > plain
    exec(compile(second, PAGE.name, "exec"), space)
    careful = space["careful"]
    sure = space["classifier"].logits(careful.adversarial).softmax(1).amax(1)
    assert float((sure[careful.success] <= 0.9).float().mean()) > 0.5
    exec(compile(third, PAGE.name, "exec"), space)
    assert space["stand_in"].agreement > 0
    assert len(space["hidden"].success) == len(space["images"])
    (tmp_path / "my_squeezer.py").write_text(file)
    blur, images = squeezer("my_squeezer.py:Blur"), torch.rand(2, 1, 8, 8)
    assert float(blur(images).std()) < float(images.std())


def test_all_squeezers_are_described() -> None:
    described = re.findall(r"^\| [^|]+ \| `([^`]+)`", PAGE.read_text(), re.MULTILINE)
    squeezers = [label for label in described if not label.startswith(("a", "--", "square"))]
    assert {squeezer(label).name for label in squeezers} == set(SQUEEZERS)
