"""Perturbations own what is theirs: schedules, names of controls; an unknown one is an error, and never PGD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks
from underfire.attacks import PERTURBATIONS, PGD, Linear, Row
from underfire.errors import InputError
from underfire.interpreters import CAM, Grad

ROW = Row(7, 11, Linear(2, 3), size=1 / 255)


@dataclass(frozen=True)
class Own(PGD):
    """A perturbation with a schedule for CAM alone."""

    name: ClassVar[str] = "own"
    rows: ClassVar[Mapping[str, Row]] = {"cam": ROW}


@dataclass(frozen=True)
class Bare(Own):
    """A perturbation without a schedule."""

    name: ClassVar[str] = "bare"
    rows: ClassVar[Mapping[str, Row]] = {}


@dataclass(frozen=True)
class GradOnly(Own):
    """A perturbation with a schedule for the family grad alone."""

    name: ClassVar[str] = "grad-only"
    rows: ClassVar[Mapping[str, Row]] = {"grad": ROW}


@dataclass(frozen=True)
class Attention(CAM):
    """An interpreter of a family that was never published, and falls back to another one."""

    name: ClassVar[str] = "attention-map"
    family: ClassVar[str] = "attention"


@pytest.mark.parametrize("interpreter", [CAM(), Grad(), Attention(), "mask"], ids=str)
def test_a_family_without_a_row_takes_that_of_cam(classifier: uf.Classifier, interpreter: Any) -> None:
    """Fault 4 of the issue: it was a bare KeyError."""
    built = attacks.preset("adv2", perturbation=Own()).build(uf.System(classifier, interpreter))
    assert [stage.steps for stage in built.stages] == [7, 11]
    weights = [one.weight for one in built.stages[1].moves[0].terms if isinstance(one.term, attacks.Interpretation)]
    assert weights == [Linear(2, 3)]
    published = attacks.preset("adv2").build(uf.System(classifier, Attention()))
    assert [stage.steps for stage in published.stages] == [400, 1200]


def test_a_family_with_a_row_takes_its_own(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, "grad")
    assert [stage.steps for stage in attacks.preset("adv2", perturbation=GradOnly()).build(system).stages] == [7, 11]
    with pytest.raises(InputError, match=r"'grad-only' has no schedule for cam \(families cam\); it has grad\."):
        attacks.preset("adv2", perturbation=GradOnly()).build(uf.System(classifier, "cam"))
    with pytest.raises(InputError, match=r"'grad-only' has no schedule for the prediction alone; it has grad\."):
        attacks.preset("adv2", perturbation=GradOnly()).control().build(system)


@pytest.mark.parametrize("interpreter", ["cam", "grad", "mask"])
def test_without_any_row_it_is_refused_in_words(classifier: uf.Classifier, interpreter: str) -> None:
    system = uf.System(classifier, interpreter)
    for preset in (attacks.preset("adv2", perturbation=Bare()), attacks.preset("adv2", perturbation=Bare()).control()):
        with pytest.raises(InputError, match=r"'bare' has no schedule for .*it has none at all.*rows = \{'cam': Row\("):
            preset.build(system)


@pytest.mark.parametrize("given", [{"attack": "adv2", "perturbation": "l3"}, {"attack": "l3"}])
def test_an_unknown_perturbation_is_an_error(given: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"unknown (perturbation|attack) 'l3'"):
        attacks.preset(**given)


def test_a_registered_perturbation_is_itself_and_never_pgd(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 1 of the issue: a name with a row was PGD without a word."""
    monkeypatch.setitem(PERTURBATIONS._parts, "l2", Own)
    for preset in (attacks.preset("adv2", perturbation="l2", eps=0.1), attacks.preset("l2", eps=0.1)):
        assert preset.made == Own(0.1)
        assert type(preset.build(uf.System(classifier, "cam")).perturbation) is Own
    assert "l2" in attacks.KINDS
    assert not attacks.KINDS["l2"].joint


CONTROLS: list[tuple[dict[str, Any], str]] = [
    ({"attack": "adv2"}, "bim"),
    ({"attack": "adv2", "perturbation": "bim"}, "bim"),
    ({"attack": "advedge"}, "bim-edge"),
    ({"attack": "advedge+"}, "bim-edge-mask"),
    ({"attack": "adv2", "perturbation": PGD(random_start=True)}, "pgd"),
    ({"attack": "advedge", "perturbation": PGD(random_start=True)}, "pgd-edge"),
    ({"attack": "adv2", "perturbation": "cw"}, "cw"),
    ({"attack": "advedge", "perturbation": "stadv"}, "stadv-edge"),
    ({"attack": "bim"}, "pgd"),
]


@pytest.mark.parametrize(("settings", "name"), CONTROLS)
def test_names_of_controls(classifier: uf.Classifier, settings: dict[str, Any], name: str) -> None:
    """Fault 2 of the issue: pgd was the name of an attack from a random start, and of a control without one."""
    images = smooth_images(4)
    labels = classifier.logits(images).argmax(1)
    preset = attacks.preset(**settings, steps=(1, 2))
    found = preset(uf.System(classifier, "cam"), images, labels)
    assert preset.control().name == name
    assert set(found.controls) == {"clean", "noise", name}
    built = preset.control().build(uf.System(classifier, "cam"))
    random = getattr(built.perturbation, "random_start", False)
    assert name.startswith("pgd") == bool(random)
    theta = built.perturbation.start(images, built.shaping.weights(images), torch.arange(4), 0)
    starts_at_the_image = torch.equal(built.perturbation.image(theta, built.perturbation.variable(theta)), images)
    if name.split("-")[0] in ("pgd", "bim"):
        assert starts_at_the_image == (not random)


def test_the_control_of_a_relative_of_pgd_is_that_relative(classifier: uf.Classifier) -> None:
    control = attacks.preset("adv2", perturbation=Own(0.1)).control()
    assert control.build(uf.System(classifier, "cam")).perturbation == Own(0.1, random_start=False, rounded=False)


@pytest.mark.parametrize("name", ["pgd", "cw", "stadv"])
def test_attacks_without_a_control(classifier: uf.Classifier, name: str) -> None:
    images = smooth_images(3)
    labels = classifier.logits(images).argmax(1)
    found = attacks.preset(name, steps=(1, 1))(uf.System(classifier, "cam"), images, labels)
    assert set(found.controls) == {"clean", "noise"}


REPLACED: list[tuple[dict[str, Any], dict[str, Any], float | None, float | None]] = [
    # a preset, what changes, eps and noise_eps afterwards
    ({"attack": "adv2"}, {"perturbation": "cw"}, None, None),
    ({"attack": "adv2", "eps": 0.1}, {"perturbation": "stadv"}, None, None),
    ({"attack": "adv2", "eps": 0.1}, {"perturbation": "bim"}, 0.1, None),
    ({"attack": "adv2", "eps": 0.1}, {"attack": "advedge"}, 0.1, None),
    ({"attack": "adv2", "eps": 0.1}, {"attack": "pgd"}, 0.1, None),
    ({"attack": "adv2", "eps": 0.1}, {"attack": "cw"}, None, None),
    ({"attack": "adv2", "eps": 0.1}, {"perturbation": PGD(0.2)}, 0.2, None),
    ({"attack": "adv2", "eps": 0.1}, {"eps": 0.2}, 0.2, None),
    ({"attack": "adv2", "eps": 0.1}, {"perturbation": "bim", "eps": 0.2}, 0.2, None),
    ({"attack": "adv2", "perturbation": PGD(0.2)}, {"perturbation": None}, 0.2, None),
    ({"attack": "adv2", "perturbation": "cw"}, {"perturbation": "pgd"}, 0.031, None),
    ({"attack": "cw", "noise_eps": 0.1}, {"attack": "stadv"}, None, 0.1),
    ({"attack": "cw", "noise_eps": 0.1}, {"attack": "pgd"}, 0.031, None),
    ({"attack": "adv2", "perturbation": "cw", "noise_eps": 0.1}, {"steps": (1, 2)}, None, 0.1),
]


@pytest.mark.parametrize(("settings", "changes", "eps", "noise_eps"), REPLACED)
def test_replacing_keeps_or_drops_the_radius(
    settings: dict[str, Any], changes: dict[str, Any], eps: float | None, noise_eps: float | None
) -> None:
    found = attacks.preset(**settings).replace(**changes)
    assert (found.eps, found.noise_eps) == (eps, noise_eps)
    assert getattr(found.made, "eps", None) == eps
    assert found.made.noise_size == (noise_eps or eps or attacks.perturbations.EPS)
    for name in ("target_class", "target_map", "terms", "variant"):
        assert getattr(found, name) == getattr(attacks.preset(**settings), name)


def test_replacing_with_a_radius_where_there_is_none() -> None:
    with pytest.raises(InputError, match=r"eps is 0\.1, and cw has no ball"):
        attacks.preset("adv2").replace(perturbation="cw", eps=0.1)
    with pytest.raises(InputError, match=r"eps is 0\.1, and perturbation is CW"):
        attacks.preset("adv2", perturbation=attacks.CW(), eps=0.1)
    with pytest.raises(InputError, match=r"give eps to one of them, as PGD\(eps=0\.2\)"):
        attacks.preset("adv2", perturbation=PGD(0.1)).replace(eps=0.2)
