"""The weights that were taken from a file are said by ``check``, and recorded in ``run.json``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import underfire as uf
from tests.runs.runs import Command, Written, options

MODEL = (
    "import underfire as uf\n"
    "def build():\n"
    "    network = uf.classifiers.load('digits-resnet').module\n"
    "    for value in network.parameters(): value.data.zero_()\n"
    "    return network\n"
)


@pytest.fixture
def said(tmp_path: Path) -> dict[str, object]:
    """Options for a checkpoint with two sets of weights, only one of which is any good."""
    (tmp_path / "model.py").write_text(MODEL)
    state = uf.classifiers.load("digits-resnet").module.state_dict()
    broken = {name: torch.zeros_like(value) for name, value in state.items()}
    torch.save({"model": broken, "model_ema": {f"module.{n}": v for n, v in state.items()}}, tmp_path / "net.pth")
    return {
        "classifier": f"{tmp_path / 'model.py'}:build",
        "weights": tmp_path / "net.pth",
        "mean": "0.305",
        "std": "0.345",
        "image_size": "16",
    }


def test_a_run_records_which_weights_it_took(command: Command, tmp_path: Path, said: dict[str, object]) -> None:
    ended = command(*options(out=tmp_path / "out", weights_key="model_ema", **said))
    assert ended.code == 0, ended.err
    record = Written(tmp_path / "out").run
    assert record["classifier_notes"] == ["net.pth: the names begin with 'model_ema', which is taken off"]
    assert record["configuration"]["weights_key"] == "model_ema"
    again = command(*options(out=tmp_path / "out", weights_key="model", resume=True, **said))
    assert (again.code, "weights_key was 'model_ema', is 'model'" in again.said) == (2, True)


def test_check_says_which_weights_it_took(command: Command, said: dict[str, object]) -> None:
    words = [f"--{name.replace('_', '-')}={value}" for name, value in said.items()]
    shown = command("check", "--data", "digits:test", "--count", "8", "--json", *words)
    lines = {line["topic"]: line for line in json.loads(shown.out)["findings"]}
    assert "holds 2 sets of weights for this network: 'model' is taken" in lines["source"]["text"]
    assert lines["weights"]["state"] == "good"
    assert "other sets of weights in the file: 'model_ema'" in lines["weights"]["text"]
