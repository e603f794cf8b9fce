"""What tests of detectors share: digits, their classifier, and one small finished run on other digits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.runs.runs import Command, make_command
from underfire.runs import RunConfig, run_attack

EPS = 0.2


@dataclass(frozen=True)
class Digits:
    """Digits that the classifier gets right, with ids, and the same digits under attack."""

    system: uf.System
    images: Tensor
    ids: list[str]
    attacked: Tensor

    def part(self, begin: int, end: int) -> tuple[Tensor, list[str]]:
        return self.images[begin:end], self.ids[begin:end]


@pytest.fixture(scope="session")
def digits() -> Digits:
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:train").load((16, 16), 1, range(160))
    right = classifier.logits(batch.images).argmax(1) == batch.labels
    images, labels = batch.images[right][:120], batch.labels[right][:120]
    ids = [one for one, good in zip(batch.ids, right.tolist(), strict=True) if good][:120]
    system = uf.System(classifier, ["cam", "grad"])
    found = uf.attack(system, images[:40], labels[:40], "adv2", eps=EPS, steps=(5, 10), noise_draws=1)
    return Digits(system, images, ids, found.adversarial)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ADV2 on 24 test digits, against CAM and read by Grad; it fools most of them, and keeps about half of the maps."""
    folder = tmp_path_factory.mktemp("detected") / "run"
    config = RunConfig.create(
        data="digits:test",
        classifier="digits-resnet",
        interpreters=("cam",),
        readers=("grad",),
        eps=EPS,
        steps=(10, 60),
        count=24,
    )
    run_attack(config, folder, batch_size=8)
    return folder


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


def changed(system: uf.System) -> uf.System:
    """The same architecture with slightly other weights."""
    other = uf.classifiers.load("digits-resnet")
    with torch.no_grad():
        next(iter(other.module.parameters())).mul_(1.001)
    return uf.System(other, list(system.interpreters))
