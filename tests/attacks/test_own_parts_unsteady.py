"""Parts of a user's own with answers that are no verdicts: they hang on others or luck, are NaN, or lie off 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.own_parts import OwnTerm, attack
from underfire.attacks import PGD, Weighted
from underfire.errors import InputError, InterpreterError, UserCodeError


@dataclass
class Brightness(uf.interpreters.Interpreter):
    """The sum of the channels, scaled in some way."""

    scale: Callable[[Tensor], Tensor]
    name: ClassVar[str] = "brightness"

    def read(self, classifier: uf.Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return self.scale(images.sum(1))

    def view(self) -> uf.interpreters.View:
        raise NotImplementedError


SCALES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "over the batch": (
        lambda maps: maps / maps.amax(),
        "depends on the other images of its batch, or on the place in it: scale each map",
    ),
    "to ranks in the batch": (
        lambda maps: maps.flatten().argsort().argsort().view_as(maps) / maps.numel(),
        "depends on the other images",
    ),
    "by the place in the batch": (
        lambda maps: maps / 3 * torch.rand(len(maps), 1, 1, generator=torch.Generator().manual_seed(0)),
        "or on the place in it",
    ),
    "by luck": (lambda maps: maps / 3 * torch.rand(len(maps), 1, 1), "draws random numbers, or keeps state"),
}


@pytest.mark.parametrize("name", SCALES)
def test_maps_that_hang_on_others_or_on_luck(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, name: str
) -> None:
    scale, message = SCALES[name]
    bright = torch.cat([images[:1], images[1:] / 2])  # the first image scales the others
    system = uf.System(classifier, "cam", readers=Brightness(scale))
    if name != "by luck":  # one image alone has no neighbours, and leaves the question open
        uf.attacks.preset("adv2", steps=(1, 1))(system, bright[:1], labels[:1])
    with pytest.raises(InterpreterError, match=message):
        uf.attacks.preset("adv2", steps=(1, 1))(system, bright, labels)


def test_an_interpreter_that_has_no_hash_is_taken(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    @dataclass
    class Listed(Brightness):
        weights: list[float]

    listed = Listed(lambda maps: maps / 3, [0.5])
    with pytest.raises(TypeError):
        hash(listed)
    uf.attacks.preset("adv2", steps=(1, 1))(uf.System(classifier, "cam", readers=listed), images, labels)


def test_maps_by_themselves_are_taken(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    alone = Brightness(lambda maps: maps / maps.amax((1, 2), keepdim=True))
    for some in (images, images[:1]):
        system = uf.System(classifier, "cam", readers=alone)
        uf.attacks.preset("adv2", steps=(1, 1))(system, some, labels[: len(some)])


def test_a_term_that_is_nan(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    """Regression: the joint attack moved nothing then, and ended as on a robust network."""
    some = OwnTerm(lambda point: torch.where(torch.arange(len(point.penalty)) == 1, torch.nan, point.penalty))
    for term in (OwnTerm(lambda point: point.penalty * torch.nan), some):
        with pytest.raises(UserCodeError, match="term 'own' is NaN for some image"):
            attack(classifier, images, labels, terms=[Weighted(term)])


def test_weights_of_other_kinds_of_numbers() -> None:
    term = OwnTerm(lambda point: point.penalty)
    for weight in (np.float32(0.5), Fraction(1, 2), 0.5):
        assert Weighted(term, weight).weight_at(0.3) == 0.5  # type: ignore[arg-type]  # more than the annotation promises


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), "x", None])
def test_weights_that_are_no_numbers(weight: object) -> None:
    with pytest.raises(InputError, match=r"weight of term 'own' is .*; expected a finite number, or a schedule"):
        Weighted(OwnTerm(lambda point: point.penalty), weight)  # type: ignore[arg-type]  # a wrong type on purpose


@dataclass(frozen=True)
class Unrounded(PGD):
    name: ClassVar[str] = "unrounded"

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        return 0.999 * adversarial


@dataclass(frozen=True)
class Outside(PGD):
    name: ClassVar[str] = "outside"

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        return super().levels(images, adversarial) + 1 / 255


@dataclass(frozen=True)
class Whole(PGD):
    name: ClassVar[str] = "whole"

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        return super().levels(images, adversarial).sum()


@pytest.mark.parametrize(
    ("perturbation", "message"),
    [
        (Unrounded(0.01), "levels of perturbation 'unrounded' returns values .* beside whole ones"),
        (Outside(0.01), "levels of perturbation 'outside' returns values .* expected multiples of 1/255 in"),
        (Whole(0.01), r"levels of perturbation 'whole' returns shape \(\)"),
    ],
)
def test_images_that_could_not_be_saved(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, perturbation: PGD, message: str
) -> None:
    """Regression: they were judged as they were, and the files held others."""
    white = torch.cat([images[:-1], torch.ones_like(images[-1:])])
    made = uf.attacks.preset("adv2", perturbation=perturbation, steps=(1, 2))
    with pytest.raises(UserCodeError, match=message):
        made(uf.System(classifier, "cam"), white, labels)
