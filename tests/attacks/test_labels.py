"""Names of attacks and controls: each means one thing, and no two parts of an experiment share one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from underfire import attacks
from underfire.attacks import PGD
from underfire.errors import InputError


@dataclass(frozen=True)
class Noise(PGD):
    name: ClassVar[str] = "noise"


@dataclass(frozen=True)
class Clean(PGD):
    name: ClassVar[str] = "clean"


@dataclass(frozen=True)
class Reseeded(PGD):
    name: ClassVar[str] = "reseeded"


@pytest.mark.parametrize("kind", [Noise, Clean, Reseeded])
def test_a_perturbation_with_the_name_of_a_control(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, kind: type[PGD]
) -> None:
    """Regression: the control overwrote the noise, or the attack was not found again."""
    for settings in ({"attack": "adv2", "perturbation": kind()}, {"attack": kind.name, "perturbation": kind()}):
        with pytest.raises(InputError, match=f"would be called '{kind.name}': .* Give the attack, or its perturbation"):
            uf.attack(classifier, images, labels, steps=(1, 1), **settings)


def test_a_control_with_the_name_of_the_attack(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, "cam")
    with pytest.raises(InputError, match="would be called 'cw'"):
        attacks.preset("cw", steps=(1, 1))(system, images, labels, control=attacks.preset("cw", steps=(1, 2)))


def test_two_attacks_with_one_name(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, "cam")
    built = attacks.preset("adv2", steps=(1, 1)).build(system)
    asked = [attacks.Asked(one, ("cam",)) for one in (built, replace(built, early_stop=attacks.EarlyStop()))]
    with pytest.raises(InputError, match="would be called 'adv2'"):
        attacks.arms_of(system, asked)


def test_control_means_the_same_for_names_and_for_attacks(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    """Regression: False was an AttributeError for an attack, and an attack was ignored for a name."""
    system = uf.System(classifier, "cam")
    preset = attacks.preset("adv2", steps=(1, 2))
    other = attacks.preset("pgd", steps=(1, 2))
    made: list[tuple[Any, dict[str, Any]]] = [("adv2", {"steps": (1, 2)}), (preset.build(system), {})]
    for attack, settings in made:
        for control, expected in ((False, None), (None, None), (other.build(system), "pgd")):
            found = uf.attack(system, images, labels, attack, control=control, **settings)
            assert set(found.controls) == {"clean", "noise"} | ({expected} if expected else set())
    assert "pgd" in preset(system, images, labels, control=other).controls
    assert "bim" in preset(system, images, labels, control=True).controls
    for wrong in (True, "pgd", other):
        with pytest.raises(
            InputError, match="'adv2' brings no control of its own; expected an attack on the prediction"
        ):
            uf.attack(system, images, labels, preset.build(system), control=wrong)
    with pytest.raises(InputError, match="control is 'pgd'"):
        preset(system, images, labels, control="pgd")


@pytest.mark.parametrize("shaping", [None, "edge"])
def test_pgd_without_a_random_start_is_bim(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, shaping: str | None
) -> None:
    """Regression: two attacks had the name pgd, one from a random start and one from the image."""
    settings: dict[str, Any] = {"steps": (1, 3), "shaping": shaping}
    found, bim = (
        uf.attack(classifier, images, labels, name, perturbation=part, **settings)
        for name, part in (("pgd", PGD(0.1, random_start=False)), ("bim", attacks.BIM(0.1)))
    )
    assert found.attack == bim.attack == ("bim" if shaping is None else "bim-edge")
    assert torch.equal(found.adversarial, bim.adversarial)
    for start in (None, True):
        assert attacks.preset("pgd", perturbation=PGD(random_start=start)).name == "pgd"
    assert attacks.preset("adv2", perturbation=PGD(random_start=False)).name == "adv2"


@pytest.mark.parametrize("attack", ["bim", "adv2", "advedge"])
def test_the_control_has_no_extra_terms(classifier: uf.Classifier, attack: str) -> None:
    control = attacks.preset(attack, terms="presence=2").control()
    assert control.terms == ()
    moves = [move for stage in control.build(uf.System(classifier, "cam")).stages for move in stage.moves]
    assert {weighted.term.name for move in moves for weighted in move.terms} == {"prediction"}
