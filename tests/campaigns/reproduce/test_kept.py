"""Numbers of defenses that a reproduction keeps: when they are measured again, and what a damaged file does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import underfire as uf
from tests.runs.runs import Command, make_command
from underfire.campaigns.reproduce.findings import read_findings
from underfire.checkpoints import write_weights

NETWORK = """
from torch import nn
from torch.nn import functional as F
import underfire as uf

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = uf.classifiers.load("digits-resnet")

    def forward(self, images):
        return self.inner(F.adaptive_avg_pool2d(images[:, :1], 16))

build = Network
"""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


def clean_accuracy(folder: Path) -> list[float]:
    found = read_findings(folder / "findings.parquet")
    return [float(np.mean(each.values["right"])) for each in found if each.perturbation == "0/255"]


def table7(classifier: str, weights: Path, out: Path) -> tuple[str, ...]:
    """The words of a small table VII."""
    where = ("advedge", "table7", "--data", "digits:test", "--classifier", classifier, "--out", str(out))
    return (*where, "--count", "4", "--steps", "1,1", "--defended", str(weights))


def measured(command: Command, folder: Path) -> tuple[Path, Path, tuple[str, ...]]:
    """Measure a small table VII. Returns its folder, the weights of the defense, and the command's words."""
    out, weights = folder / "out", folder / "defense" / "digits.safetensors"
    weights.parent.mkdir()
    write_weights(uf.classifiers.load("digits-resnet").module, weights, "moved")
    given = table7("digits-resnet", weights, out)
    assert command("reproduce", *given).code == 0
    return out, weights, given


def test_a_file_of_the_user_that_changed_is_measured_anew(command: Command, tmp_path: Path) -> None:
    """Regression: only the weights counted, so that numbers of the earlier code were shown again."""
    file, weights, out = tmp_path / "own.py", tmp_path / "defense" / "own.safetensors", tmp_path / "out"
    file.write_text(NETWORK, encoding="utf-8")
    weights.parent.mkdir()
    write_weights(uf.classifiers.load(f"{file}:build").module, weights, "moved")
    given = table7(f"{file}:build", weights, out)
    assert command("reproduce", *given).code == 0
    assert clean_accuracy(out) == [0.5] * 4
    file.write_text(NETWORK.replace("images[", "(1 - images)["), encoding="utf-8")
    assert command("reproduce", *given, "--resume").code == 0
    assert clean_accuracy(out) == [0] * 4


def test_numbers_that_cannot_be_measured_any_more_are_not_shown(command: Command, tmp_path: Path) -> None:
    """Regression: the numbers of the earlier weights stayed beside the reason for which there are none."""
    out, weights, given = measured(command, tmp_path)
    rows = read_findings(out / "findings.parquet")
    whole = weights.read_bytes()
    weights.write_bytes(b"damaged")
    assert command("reproduce", *given, "--resume").code == 0
    assert {each.defense for each in read_findings(out / "findings.parquet")} == {"none"}
    assert "table7 for digits-resnet, defense" in (out / "reproduction.md").read_text(encoding="utf-8")
    weights.write_bytes(whole)
    assert command("reproduce", *given, "--resume").code == 0
    assert [each.keys for each in read_findings(out / "findings.parquet")] == [each.keys for each in rows]


def test_damaged_numbers_are_told_and_made_again(command: Command, tmp_path: Path) -> None:
    """Regression: the file with the numbers of defenses was no file of Parquet, and the command ended unexpectedly."""
    out, _, given = measured(command, tmp_path)
    before = (out / "defense.parquet").read_bytes()
    (out / "defense.parquet").write_bytes(b"damaged")
    ended = command("reproduce", *given, "--resume")
    said = " ".join(ended.err.split())
    assert ended.code == 2
    assert "cannot be read: Parquet file" in said
    (out / "defense.parquet").unlink()
    assert command("reproduce", *given, "--resume").code == 0
    assert (out / "defense.parquet").read_bytes() == before
    assert not list(out.glob("*.part"))
