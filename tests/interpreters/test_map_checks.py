"""Maps of wrong type, shape or range, from interpreters and views that users write: refused in plain words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from underfire import attacks
from underfire.errors import InterpreterError
from underfire.interpreters import CAM, Interpreter, View

Change = Callable[[Tensor], Any]


def same(maps: Tensor) -> Tensor:
    return maps


class OwnView(View):
    def __init__(self, change: Change) -> None:
        self.change, self.cam = change, CAM().view()

    def read(self, *given: Any, **named: Any) -> Any:
        maps, state = self.cam.read(*given, **named)
        return self.change(maps), state


@dataclass(frozen=True)
class Own(Interpreter):
    """CAM, whose maps are changed afterwards."""

    name: ClassVar[str] = "own"
    family: ClassVar[str] = "cam"
    honest: Change = same
    viewed: Change = same

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Any:
        return self.honest(CAM().read(classifier, images, classes, ids))

    def view(self) -> View:
        return OwnView(self.viewed)


SHAPES: dict[str, tuple[Change, str]] = {
    "channels": (lambda maps: maps[:, None], r"squeeze\(1\)"),
    "three channels": (lambda maps: maps[:, None].expand(-1, 3, -1, -1), r"abs\(\).amax\(1\)"),
    "flat": (lambda maps: maps.flatten(1), r"shape \(\d+, \d+\).* expected a tensor N x h x w"),
    "too few": (lambda maps: maps[:1], r"expected a tensor N x h x w, one map per image"),
    "no rows": (lambda maps: maps[:, :0], r"shape \(\d+, 0, \d+\)"),
    "numpy": (lambda maps: maps.detach().numpy(), "an object of type ndarray"),
    "none": (lambda maps: None, "an object of type NoneType"),
}
RANGES: dict[str, tuple[Change, str]] = {
    "large": (lambda maps: maps * 3, r"from 0 to 3; expected values in \[0, 1\].* scale each map"),
    "negative": (lambda maps: maps - 0.5, r"from -0.5 to 0.5; expected values in \[0, 1\]"),
    "nan": (lambda maps: maps / 0, "NaN comes from a division by 0"),
}


@pytest.mark.parametrize("kind", [*SHAPES, *RANGES])
def test_honest_maps_are_checked(classifier: uf.Classifier, images: Tensor, labels: Tensor, kind: str) -> None:
    change, said = (SHAPES | RANGES)[kind]
    with pytest.raises(InterpreterError, match=f"interpreter own .*{said}"):
        Own(change).maps(classifier, images, labels)
    with pytest.raises(InterpreterError, match=f"interpreter own .*{said}"):
        attack(classifier, Own(change), images, labels)


@pytest.mark.parametrize("kind", ["flat", "too few", "numpy", "none", "large", "negative"])
def test_the_maps_of_a_view_are_checked(classifier: uf.Classifier, images: Tensor, labels: Tensor, kind: str) -> None:
    change, said = (SHAPES | RANGES)[kind]
    with pytest.raises(InterpreterError, match=f"the view of interpreter own .*{said.split(';')[0]}"):
        attack(classifier, Own(viewed=change), images, labels)


class Stateless(OwnView):
    def read(self, *given: Any, **named: Any) -> Any:
        return super().read(*given, **named)[0]


def test_a_view_returns_its_state_too(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: "unexpected ValueError: too many values to unpack", and with two images another message again."""
    monkeypatch.setattr(Own, "view", lambda own: Stateless(own.viewed))
    for count in (1, 2, len(images)):
        with pytest.raises(InterpreterError, match=r"view of interpreter own returns shape .*: return maps, state\."):
            attack(classifier, Own(), images[:count], labels[:count])


def test_a_view_and_its_honest_maps_have_one_size(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    for own in (Own(lambda maps: maps[:, ::2, ::2]), Own(viewed=lambda maps: maps[:, ::2, ::2])):
        with pytest.raises(InterpreterError, match="expected the same height and width"):
            attack(classifier, own, images, labels)


def test_right_maps_of_any_type_pass(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    expected = CAM().maps(classifier, images, labels)
    assert torch.equal(Own().maps(classifier, images, labels), expected)
    assert torch.equal(Own(lambda maps: maps.double()).maps(classifier, images, labels), expected)
    assert torch.equal(Own(lambda maps: maps > 0.5).maps(classifier, images, labels), (expected > 0.5).float())
    attack(classifier, Own(viewed=lambda maps: maps.unsqueeze(1)), images, labels)


def attack(classifier: uf.Classifier, own: Interpreter, images: Tensor, labels: Tensor) -> None:
    attacks.preset("adv2", eps=0.1, steps=(1, 2))(uf.System(classifier, own), images, labels)
