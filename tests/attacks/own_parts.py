"""Parts of a user's own whose answers a test chooses, and a short attack with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

import underfire as uf
from underfire import attacks
from underfire.attacks import ClassRule, MapRule, Shaping, Term
from underfire.attacks.benign import Benign


class OwnTerm(Term):
    name: ClassVar[str] = "own"

    def __init__(self, answer: Callable[[attacks.Point], Any]) -> None:
        self.answer = answer

    def __call__(self, point: attacks.Point) -> Tensor:
        found: Tensor = self.answer(point)
        return found


class OwnClass(ClassRule):
    name: ClassVar[str] = "own"

    def __init__(self, answer: Callable[[Benign], Any]) -> None:
        self.answer = answer

    def classes(self, view: Any, benign: Benign, seed: int) -> Tensor:
        found: Tensor = self.answer(benign)
        return found


class OwnMap(MapRule):
    name: ClassVar[str] = "own"

    def __init__(self, answer: Callable[[dict[str, Tensor]], Any]) -> None:
        self.answer = answer

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.answer(benign.maps)
        return found


class OwnShaping(Shaping):
    name: ClassVar[str] = "own"

    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        self.answer = answer

    def weights(self, images: Tensor) -> Tensor:
        found: Tensor = self.answer(images)
        return found


def attack(classifier: uf.Classifier, images: Tensor, labels: Tensor, **settings: Any) -> attacks.AttackResult:
    return uf.attack(classifier, images, labels, **({"attack": "adv2", "steps": (1, 1)} | settings))
