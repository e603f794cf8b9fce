"""A control gets the classes of the attack that it stands beside: one with another goal would go elsewhere."""

from __future__ import annotations

import pytest
from torch import Tensor

import underfire as uf
from underfire import attacks
from underfire.attacks import ForeignAttack, Goal
from underfire.errors import InputError


@pytest.mark.parametrize("targeted", [True, False])
def test_a_control_with_another_goal_is_refused(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, targeted: bool
) -> None:
    settings = {"steps": (1, 1), "targeted": targeted}
    other = attacks.preset("bim", targeted=not targeted, steps=(1, 1))
    with pytest.raises(InputError, match=rf"control is an attack with another goal: .*targeted={targeted}\)"):
        uf.attack(classifier, images, labels, **settings, control=other)
    pytest.importorskip("torchattacks")
    foreign = ForeignAttack("torchattacks:FGSM", goal=Goal(not targeted))
    with pytest.raises(InputError, match=r"control is an attack with another goal: 'torchattacks-fgsm' is "):
        uf.attack(classifier, images, labels, **settings, control=foreign)


def test_a_control_with_the_same_goal_leaves_the_class(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    same = attacks.preset("bim", targeted=False, eps=0.3, steps=(5, 10))
    found = uf.attack(classifier, images, labels, targeted=False, eps=0.3, steps=(5, 10), control=same)
    right = found.correct_before
    assert bool((found.controls["bim"].logits.argmax(1) != labels)[right].any())


@pytest.mark.parametrize(("name", "value"), [("targeted", "false"), ("targeted", None), ("early_stop", "no")])
def test_texts_are_no_truth_values(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name} is {value!r}; expected True"):
        attacks.preset("adv2", **{name: value})


@pytest.mark.parametrize(
    ("attack", "name", "value", "said"),
    [
        ("adv2", "terms", 5, "terms is 5; expected names of terms"),
        ("adv2", "evade", 5, "evade holds an object of type int; expected"),
        ("adv2", "evade", None, "evade holds an object of type NoneType; expected"),
        ("cw", "search", 2.5, "search is 2.5; expected a whole number"),
        ("adv2", "target_class", True, r"target_class is True \(bool\); expected a rule"),
    ],
)
def test_settings_of_another_type(attack: str, name: str, value: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        attacks.preset(attack, **{name: value})


def test_an_attack_on_the_prediction_alone_stops_early_too(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, "cam")
    assert attacks.preset("pgd").build(system).early_stop is None
    assert attacks.preset("pgd", early_stop=True).build(system).early_stop == attacks.EarlyStop()


def test_the_usual_target_class_follows_the_attack() -> None:
    plain, adaptive = attacks.preset("adv2"), attacks.preset("adaptive")
    assert plain.replace(attack="adaptive") == adaptive
    assert adaptive.replace(attack="adv2") == plain
    assert adaptive.replace(targeted=False) == attacks.preset("adaptive", targeted=False)
    given = attacks.preset("adv2", target_class="least-likely")
    assert given.replace(attack="adaptive").target_class == given.target_class
