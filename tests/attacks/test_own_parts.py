"""Parts of the user's own that are wrong: each is refused with a message that names the part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.own_parts import OwnClass, OwnMap, OwnShaping, OwnTerm, attack
from underfire import attacks
from underfire.attacks import PGD, Attack, ClassRule, MapRule, Move, Prediction, Shaping, Stage, Term, Weighted
from underfire.attacks.benign import Benign
from underfire.errors import InputError

CLASSES: dict[str, tuple[Callable[[Benign], Any], str]] = {
    "own classes": (lambda benign: benign.labels, r"'own' is the image's own class for image 0 \(class \d\)"),
    "too high": (lambda benign: torch.full_like(benign.labels, 9), r"'own' ranges over 9\.\.9; .* classes 0\.\.3"),
    "negative": (lambda benign: torch.full_like(benign.labels, -1), r"'own' ranges over -1\.\.-1"),
    "floating": (
        lambda benign: benign.labels.float(),
        r"returns shape \(6,\) and torch.float32; expected a tensor of 6",
    ),
    "one": (
        lambda benign: (benign.labels[:1] + 1) % 4,
        r"returns shape \(1,\) and torch.int64; expected a tensor of 6",
    ),
    "a list": (lambda benign: [0] * 6, "returns an object of type list; expected a tensor of 6 classes"),
}


@pytest.mark.parametrize("name", CLASSES)
def test_target_classes_that_cannot_be(classifier: uf.Classifier, images: Tensor, labels: Tensor, name: str) -> None:
    answer, message = CLASSES[name]
    with pytest.raises(InputError, match=message):
        attack(classifier, images, labels, target_class=OwnClass(answer))
    foreign = attacks.Attack(
        "mine", (Stage("one", 1, (Move((Weighted(Prediction()),), 0.1),)),), target_class=OwnClass(answer)
    )
    with pytest.raises(InputError, match=message):
        foreign(uf.System(classifier, "cam"), images, labels)


MAPS: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "none": (lambda maps: {}, "returns maps of no interpreter, and none of cam"),
    "others": (lambda maps: {"grad": maps["cam"]}, "returns maps of grad, and none of cam"),
    "a tensor": (lambda maps: maps["cam"], "returns an object of type Tensor; expected a dictionary"),
    "one": (
        lambda maps: {"cam": maps["cam"][:1]},
        r"returns shape \(1, 8, 8\) .* expected floating-point maps of shape",
    ),
    "flags": (lambda maps: {"cam": maps["cam"] > 0.5}, r"torch.bool for cam; expected floating-point maps"),
    "255": (lambda maps: {"cam": maps["cam"] * 255}, r"values of 0 to 255; expected values in \[0, 1\]"),
    "nan": (lambda maps: {"cam": maps["cam"] * torch.nan}, "values of nan to nan"),
}


@pytest.mark.parametrize("name", MAPS)
def test_target_maps_that_cannot_be(classifier: uf.Classifier, images: Tensor, labels: Tensor, name: str) -> None:
    answer, message = MAPS[name]
    with pytest.raises(InputError, match=f"target_map 'own' {message}" if "returns" in message else message):
        attack(classifier, images, labels, target_map=OwnMap(answer))


def test_maps_that_are_rounded_may_lie_a_hair_outside(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    attack(classifier, images, labels, target_map=OwnMap(lambda maps: {"cam": maps["cam"] + 1e-7}))


TERMS: dict[str, tuple[Callable[[attacks.Point], Any], str]] = {
    "mean": (lambda point: point.penalty.mean(), r"term 'own' returns shape \(\); expected a tensor of 8 values"),
    "column": (lambda point: point.penalty.unsqueeze(1), r"returns shape \(8, 1\)"),
    "maps": (lambda point: point.image, r"returns shape \(8, 3, 16, 16\)"),
    "number": (lambda point: 1.0, "returns an object of type float"),
}


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("trace_every", [None, 1])
def test_terms_without_a_value_per_image(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, name: str, trace_every: int | None
) -> None:
    answer, message = TERMS[name]
    with pytest.raises(InputError, match=message):
        attack(classifier, images, labels, terms=[Weighted(OwnTerm(answer))], trace_every=trace_every)


def test_weights_of_a_wrong_shape(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    message = r"shaping 'own' returns shape \(16, 16\); expected weights of shape \(8, 1, 16, 16\)"
    with pytest.raises(InputError, match=message):
        attack(classifier, images, labels, shaping=OwnShaping(lambda some: some[0, 0]))


@dataclass(frozen=True)
class Priced(PGD):
    name: ClassVar[str] = "priced"

    def penalty(self, theta: Any, variable: Tensor, image: Tensor) -> Tensor:
        return image.square().mean()


def test_a_cost_that_is_one_number(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    with pytest.raises(InputError, match=r"the penalty of perturbation 'priced' returns shape \(\)"):
        attack(classifier, images, labels, perturbation=Priced())


class NoTermName(Term):
    def __call__(self, point: attacks.Point) -> Tensor:
        return point.penalty


class NoClassName(ClassRule):
    def classes(self, view: Any, benign: Benign, seed: int) -> Tensor:
        return (benign.labels + 1) % 4


class NoMapName(MapRule):
    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        return benign.maps


class NoShapingName(Shaping):
    name = " "

    def weights(self, images: Tensor) -> Tensor:
        return images[:, :1]


class NoName(PGD):
    name = None


NAMELESS: list[tuple[str, Callable[[], Any], type]] = [
    ("term", lambda: {"terms": [Weighted(NoTermName())]}, NoTermName),
    ("target_class", lambda: {"target_class": NoClassName()}, NoClassName),
    ("target_map", lambda: {"target_map": NoMapName()}, NoMapName),
    ("shaping", lambda: {"shaping": NoShapingName()}, NoShapingName),
    ("perturbation", lambda: {"perturbation": NoName()}, NoName),
    ("perturbation", lambda: {"perturbation": NoName}, NoName),
]


@pytest.mark.parametrize(("kind", "settings", "part"), NAMELESS)
def test_parts_without_a_name(kind: str, settings: Callable[[], Any], part: type) -> None:
    with pytest.raises(InputError, match=f"is a {part.__name__} with the name .*; expected a text that is not empty"):
        attacks.preset("adv2", **settings())


@pytest.mark.parametrize(("kind", "settings", "part"), NAMELESS[1:5])
def test_parts_without_a_name_in_an_attack_made_by_hand(kind: str, settings: Callable[[], Any], part: type) -> None:
    with pytest.raises(InputError, match=f"{kind} is a {part.__name__} with the name .*"):
        Attack("mine", (Stage("one", 1, (Move((Weighted(Prediction()),), 0.1),)),), **settings())


@pytest.mark.parametrize("kind", ["shaping", "perturbation", "term"])
def test_objects_that_are_no_parts(kind: str) -> None:
    with pytest.raises(InputError, match=rf"{kind} is an object of type int; expected an? "):
        attacks.preset("adv2", **({"terms": [Weighted(3)]} if kind == "term" else {kind: 3}))


PLAIN = """
from underfire.attacks import PGD, ClassRule, MapRule, Shaping, Term
from underfire.interpreters import CAM


class Far(Term):
    name = "far"

    def __init__(self, scale=0.5):
        self.scale = scale

    def __call__(self, point):
        return -self.scale * point.penalty


class Next(ClassRule):
    name = "next"

    def classes(self, view, benign, seed):
        return (benign.labels + 1) % benign.logits.shape[1]


far = Far(2)
"""


def test_plain_classes_are_known_by_their_values(tmp_path: Path) -> None:
    """Regression: their repr had an address, so that no run with them could be resumed."""
    (tmp_path / "plain.py").write_text(PLAIN)
    file = tmp_path / "plain.py"
    again = [attacks.TERMS.find(f"{file}:Far") for _ in range(2)]
    assert [repr(term) for term in again] == ["Far(scale=0.5)"] * 2
    assert repr(attacks.TERMS.find(f"{file}:far")) == "Far(scale=2)"
    assert repr(attacks.CLASS_RULES.find(f"{file}:Next")) == "Next()"
    made = [attacks.preset("adv2", terms=f"{file}:Far", target_class=f"{file}:Next") for _ in range(2)]
    assert repr(made[0]) == repr(made[1])
