"""Code of the user's own that raises errors while it runs: the message names the part, the cause, file and line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.own_parts import OwnClass, OwnMap, OwnShaping, OwnTerm, attack
from underfire import attacks
from underfire.attacks import PGD, Measure, Weighted
from underfire.errors import UserCodeError
from underfire.interpreters import CAM
from underfire.user_parts import guarded


def fails(*given: Any, **named: Any) -> Any:
    raise KeyError("lost")


@dataclass(frozen=True)
class Failing(PGD):
    name: ClassVar[str] = "failing"
    method: ClassVar[str] = ""

    def __getattribute__(self, name: str) -> Any:
        return fails if name == type(self).method else super().__getattribute__(name)


@dataclass(frozen=True)
class FailingMaps(CAM):
    name: ClassVar[str] = "failing"

    def read(self, *given: Any, **named: Any) -> Tensor:
        return fails()


@dataclass(frozen=True)
class FailingView(CAM):
    name: ClassVar[str] = "failing"

    def view(self) -> uf.interpreters.View:
        return BadView()


class BadView(uf.interpreters.View):
    def read(self, *given: Any, **named: Any) -> Any:
        return fails()


OWN_MEASURE = Measure("lost", "image", "float", "lost", "fails", compute=fails)
FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "term": ({"terms": [Weighted(OwnTerm(fails))]}, "term 'own'"),
    "target_class": ({"target_class": OwnClass(fails)}, "target_class 'own'"),
    "target_map": ({"target_map": OwnMap(fails)}, "target_map 'own'"),
    "shaping": ({"shaping": OwnShaping(fails)}, "shaping 'own'"),
    "measure": ({"measures": [OWN_MEASURE]}, "measure 'lost'"),
    "interpreter": ({"interpreters": FailingMaps()}, "interpreter 'failing'"),
    "view": ({"interpreters": FailingView()}, "view of interpreter 'failing'"),
}


@pytest.mark.parametrize("kind", FAILING)
def test_errors_in_the_users_code_name_the_part(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, kind: str
) -> None:
    settings, called = FAILING[kind]
    with pytest.raises(
        UserCodeError, match=rf"{called} fails: KeyError: 'lost' \(.*own_parts\w*\.py, line \d+\)"
    ) as at:
        attack(classifier, images, labels, **settings)
    assert isinstance(at.value.__cause__, KeyError)


@pytest.mark.parametrize("method", ["start", "variable", "image", "move", "penalty", "levels", "noise", "completed"])
def test_errors_in_a_perturbation_name_it(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    perturbation = Failing()
    monkeypatch.setattr(Failing, "method", method)
    with pytest.raises(UserCodeError, match="perturbation 'failing' fails: KeyError: 'lost'"):
        attack(classifier, images, labels, perturbation=perturbation)


@dataclass(frozen=True)
class Demanding(PGD):
    name: ClassVar[str] = "demanding"

    def __init__(self, needed: int) -> None:
        pass


def test_a_perturbation_that_cannot_be_made_is_named() -> None:
    with pytest.raises(UserCodeError, match=r"perturbation 'demanding' fails: TypeError: .*needed"):
        attacks.preset("adv2", perturbation=Demanding)


def test_our_own_parts_are_called_as_they_are() -> None:
    for part in (PGD(), attacks.Prediction(), attacks.MEASURES["ssim"].compute):
        assert guarded(part, "part") is part


def test_memory_that_runs_out_is_no_fault_of_the_part() -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError):
        guarded(full, "term", "full")()
