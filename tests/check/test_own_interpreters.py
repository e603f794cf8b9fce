"""An error in a user's own interpreter ends its own trial, and nothing else is blamed on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from tests.runs.runs import make_command
from underfire.check import sanity, trials
from underfire.interpreters import CAM, Ensemble, Grad, Interpreter, View


@dataclass(frozen=True)
class Raising(Interpreter):
    """A user's interpreter whose code raises an error of its own, by ``where``: as it reads maps, or makes its view."""

    where: str
    name: ClassVar[str] = "raising"
    family: ClassVar[str] = "cam"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        if self.where == "read":
            raise KeyError("layer5")
        if self.where == "memory":
            raise MemoryError
        return CAM().read(classifier, images, classes, ids)

    def view(self) -> View:
        if self.where == "view":
            raise AttributeError("no layer5")
        return CAM().view()

    def reseeded(self, offset: int = 1) -> Interpreter | None:
        if self.where == "reseeded":
            raise ValueError("no seed")
        return None


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("read", "interpreter 'raising' fails: KeyError: 'layer5' ("),
        ("view", "interpreter 'raising' fails: AttributeError: no layer5 ("),
        ("reseeded", "interpreter 'raising' fails: ValueError: no seed ("),
        ("memory", "it does not fit into the memory of cpu"),
    ],
)
def test_an_error_of_a_users_interpreter_ends_its_own_trial(
    where: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: it ended the whole check, as a traceback."""
    monkeypatch.setattr(trials, "REGISTRY", {"raising": Raising, "cam": CAM})
    monkeypatch.setattr(trials, "create", lambda name: Raising(where) if name == "raising" else CAM())
    images = uf.data.open_data("digits:test").load((16, 16), 1, [0, 1]).images
    classifier = uf.classifiers.load("digits-resnet")
    _, (raising, cam) = trials.try_interpreters(classifier, images, torch.tensor([4, 9]))
    assert not raising.works
    assert said in (raising.problem or "")
    assert cam.works


@dataclass(frozen=True)
class Peculiar(CAM):
    """A user's interpreter that works with one network only."""

    known: uf.Classifier | None = None

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        if classifier is not self.known:
            raise KeyError("another network")
        return super().read(classifier, images, classes, ids)


def test_an_interpreter_that_fails_on_other_weights_keeps_its_other_checks() -> None:
    """Regression: its error ended the check, and an audit after all of its attacks."""
    classifier, images, classes = uf.classifiers.load("digits-resnet"), torch.rand(2, 1, 16, 16), torch.tensor([4, 9])
    other = sanity.shuffled_copy(classifier)
    for interpreter in (Peculiar(known=classifier), Ensemble((CAM(), Peculiar(known=classifier)))):
        found = sanity.look_at(interpreter, classifier, other, images, classes)
        assert found is not None
        assert found.other_weights is None
        assert "another network" in found.why_unknown
        assert -1 <= found.other_class <= 1


class Detached(nn.Module):
    """A network whose forward cuts the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.network(images).detach()
        return found


@dataclass(frozen=True)
class Mine(Grad):
    name: ClassVar[str] = "mine"


def test_a_fault_of_the_network_is_not_blamed_on_a_users_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "REGISTRY", {"mine": Mine})
    monkeypatch.setattr(trials, "create", lambda _: Mine())
    classifier = uf.Classifier(Detached(), image_size=16)
    _, (trial,) = trials.try_interpreters(classifier, smooth_images(2), torch.tensor([0, 1]))
    assert "fails" not in (trial.problem or "")
    assert "detach()" in (trial.problem or "")


FILE = """
from dataclasses import dataclass
from typing import ClassVar

from underfire.interpreters import CAM


@dataclass(frozen=True)
class Alone(CAM):
    name: ClassVar[str] = "alone"


@dataclass(frozen=True)
class Together(CAM):
    name: ClassVar[str] = "together"

    def read(self, classifier, images, classes, ids):
        maps = super().read(classifier, images, classes, ids)
        return maps * (images / images.amax()).mean() / maps.amax().clamp(min=1e-6)


@dataclass(frozen=True)
class Turned(CAM):
    name: ClassVar[str] = "turned"

    def read(self, classifier, images, classes, ids):
        return 1 - super().read(classifier, images, classes, ids)
"""


def test_interpreters_are_tried_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Own ones, too: one that depends on the other images of its batch does not work."""
    monkeypatch.chdir(tmp_path)
    Path("my_maps.py").write_text(FILE)
    command = make_command(monkeypatch, capsys)
    words = ("check", "--data", "digits:test", "--classifier", "digits-resnet", "--count", 8, "--json")
    ended = command(*words, "--interpreter", "my_maps.py:Alone,cam,my_maps.py:Together")
    assert ended.code == 0, ended.err
    alone, cam, together = json.loads(ended.out)["interpreters"].values()
    assert alone["works"]
    assert cam["works"]
    assert not together["works"]
    assert "depends on the other images of its batch" in together["problem"]
    assert "view" not in {found["topic"] for found in json.loads(ended.out)["findings"]}
    for _ in range(2):  # each time, not the first alone
        ended = command(*words, "--interpreter", "my_maps.py:Turned")
        (said,) = (found for found in json.loads(ended.out)["findings"] if found["topic"] == "view")
        assert said["state"] == "hint"
        assert "the view of interpreter 'my_maps.py:Turned' gives other maps" in said["text"]
    ended = command(*words, "--interpreter", "my_maps.py:Missing")
    assert ended.code == 1
    (missing,) = json.loads(ended.out)["interpreters"].values()
    assert "Missing" in missing["problem"]
