"""Everything in the registries goes together: perturbations, shapings, interpreters, targets and loss terms.

Values come from the registries, so that what is added to one of them is tested without a change here. Of all
combinations those run that ``covering`` chooses: each triple of values of three registries runs at least once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.coverings import covering
from tests.conftest import by, smooth_images
from tests.interpreters.rts.makers import Attending, pyramid, write_masker
from underfire import attacks
from underfire.attacks import CLASS_RULES, MAP_RULES, PERTURBATIONS, SHAPINGS, TERMS
from underfire.attacks.benign import read_benign
from underfire.classifiers import check_images
from underfire.errors import InputError
from underfire.interpreters import CAM, LRP, MASK, REGISTRY, Interpreter

EPS = 16 / 255
GIVEN = "given"
"""A target map from a file, beside the rules of the registry."""
SETTINGS = {
    "mask": {"iterations": 3, "refresh_every": 2, "free_steps": 1, "unrolled_steps": 2},
    "smoothgrad": {"samples": 2},
    "ig": {"samples": 2},
    "sparsified": {"samples": 2},
    "metfa": {"samples": 2},
}
"""Small settings of slow interpreters."""


@dataclass(frozen=True)
class World:
    """A network, the interpreters that can explain it, and the rules for target maps.

    No network serves all interpreters: LRP refuses attention, and others need it. LRP is explained in a world of its
    own, ``plain``, whose network has no attention.
    """

    classifier: uf.Classifier
    interpreters: dict[str, Interpreter]
    map_rules: dict[str, attacks.MapRule]
    plain: World | None = None

    def of(self, interpreter: str) -> World:
        """Return the world whose network ``interpreter`` can explain."""
        if interpreter in self.interpreters:
            return self
        assert self.plain is not None
        return self.plain

    def system(self, *names: str) -> uf.System:
        return uf.System(self.classifier, {name: self.interpreters[name] for name in names})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    plain = make(tmp_path_factory.mktemp("plain"), pyramid(), lambda kind: kind.family != "attention", None)
    return make(tmp_path_factory.mktemp("world"), pyramid(kind=Attending), lambda kind: kind is not LRP, plain)


def make(
    folder: Path, classifier: uf.Classifier, fits: Callable[[type[Interpreter]], bool], plain: World | None
) -> World:
    masker = str(write_masker(folder, classifier))
    settings = SETTINGS | {"rts": {"masker": masker}}
    kinds: dict[str, Any] = {name: REGISTRY[name] for name in REGISTRY}
    interpreters = {name: kind(**settings.get(name, {})) for name, kind in kinds.items() if fits(kind)}
    images = check_images(smooth_images(40, 32, seed=9), classifier)
    labels = classifier.logits(images).argmax(1)
    pool = attacks.MapPool.read(uf.System(classifier, interpreters), images, labels, torch.arange(40))
    np.save(folder / "map.npy", np.eye(16, dtype=np.float32))
    rules = dict(MAP_RULES) | {"class": attacks.ClassMap(pool), GIVEN: attacks.GivenMap(str(folder / "map.npy"))}
    return World(classifier, interpreters, rules, plain)


def images_and_labels(world: World, count: int = 3) -> tuple[Tensor, Tensor]:
    images = smooth_images(count, 32, seed=2)
    return images, world.classifier.logits(images).argmax(1)


def check(preset: attacks.Preset, system: uf.System, images: Tensor, labels: Tensor) -> attacks.AttackResult:
    """Attack, and check what every attack promises."""
    attack = preset.build(system)
    result = preset(system, images, labels, control=False, trace_every=1, noise_draws=2)
    saved = result.adversarial
    assert torch.equal(saved, (saved * 255).round() / 255), "8 bits"
    assert bool(((saved >= 0) & (saved <= 1)).all())
    assert torch.equal(saved, attack.perturbation.levels(images, saved)), "inside the constraint"
    if attack.perturbation.has("eps"):
        assert float(result.linf.max()) <= EPS + 1e-6
    weights = attack.shaping.weights(images)
    assert not (saved != images).any(1, keepdim=True)[weights == 0].any()
    for measured in (result.values, *(control.values for control in result.controls.values())):
        for values in measured.values():
            for each in values.values() if isinstance(values, dict) else [values]:
                assert bool(torch.isfinite(each).all())
    assert result.steps.tolist() == [attack.steps] * len(images)
    benign = read_benign(system, images, labels)
    assert torch.equal(result.target, attack.aim(system.view(), benign, 0).classes)
    for name, limit in result.map_limit.items():
        kept = result.map_l1_target[name] < limit
        assert torch.equal(result.joint_success[name], result.success & kept)
    assert torch.equal(result.joint_success_all, torch.stack(list(result.joint_success.values())).all(0))
    return result


def acts(term: str, perturbation: str, class_rule: str, system: uf.System) -> bool:
    """Tell if a term has something to act on; otherwise an attack refuses it."""
    return {
        "penalty": PERTURBATIONS[perturbation].has_cost(),
        "match": class_rule == "grid",
        "presence": any("rts" in each.families() for each in system.attacked.values()),
    }.get(term, True)


FACTORS = (list(REGISTRY), [*MAP_RULES, GIVEN], list(PERTURBATIONS), list(TERMS), list(SHAPINGS), list(CLASS_RULES))
CHOSEN = covering(3, *FACTORS)


def test_each_triple_is_covered() -> None:
    for places in combinations(range(len(FACTORS)), 3):
        together = {tuple(row[place] for place in places) for row in CHOSEN}
        assert together == set(product(*(FACTORS[place] for place in places)))
    assert len(CHOSEN) < 2 * len(FACTORS[0]) * len(FACTORS[1]) * len(FACTORS[2])


@pytest.mark.parametrize(("interpreter", "map_rule", "perturbation", "term", "shaping", "class_rule"), CHOSEN)
def test_joint_attacks(
    world: World, interpreter: str, map_rule: str, perturbation: str, term: str, shaping: str, class_rule: str
) -> None:
    world = world.of(interpreter)
    images, labels = images_and_labels(world)
    settings: dict[str, Any] = {"target_map": world.map_rules[map_rule], "target_class": class_rule}
    system = world.system(interpreter)

    def joint_attack() -> attacks.Preset:
        return attacks.preset(
            "adv2",
            **by(perturbation, EPS),
            shaping=shaping,
            **settings,
            terms={term: 0.1},
            steps=(1, 2),
            early_stop=False,
        )

    if not acts(term, perturbation, class_rule, system):
        with pytest.raises(InputError, match=f"term '{term}' "):
            joint_attack()(system, images, labels)
        return
    joint = joint_attack()
    result = check(joint, system, images, labels)
    course = result.trace.columns[f"loss_{TERMS[term].name}"]
    assert bool(course[1:].isfinite().all()), "an extra term acts in the joint stage"
    assert type(joint.made_perturbation).name == perturbation
    assert joint.joint


@pytest.mark.parametrize(
    ("interpreter", "map_rule", "perturbation", "shaping", "class_rule"),
    covering(2, list(REGISTRY), [*MAP_RULES, GIVEN], list(PERTURBATIONS), list(SHAPINGS), list(CLASS_RULES)),
)
def test_auto(world: World, interpreter: str, map_rule: str, perturbation: str, shaping: str, class_rule: str) -> None:
    world = world.of(interpreter)
    images, labels = images_and_labels(world)
    settings: dict[str, Any] = {"target_map": world.map_rules[map_rule], "target_class": class_rule}
    auto = attacks.preset("auto", **by(perturbation, EPS), shaping=shaping, **settings, budget=3)
    result = check(auto, world.system(interpreter), images, labels)
    assert bool((result.linf > 0).any()) or shaping != "uniform"


@pytest.mark.parametrize(
    ("perturbation", "shaping", "class_rule", "term"),
    covering(2, list(PERTURBATIONS), list(SHAPINGS), list(CLASS_RULES), list(TERMS)),
)
def test_attacks_on_the_prediction_alone(
    world: World, perturbation: str, shaping: str, class_rule: str, term: str
) -> None:
    """By name, and as the control of a joint attack."""
    images, labels = images_and_labels(world)
    system = world.system("cam")
    settings: dict[str, Any] = {"shaping": shaping, "target_class": class_rule, "steps": (1, 2)}
    control = attacks.preset("adv2", **by(perturbation, EPS), **settings).control()
    assert not control.joint
    assert control.made.name == ("bim" if perturbation == "pgd" else perturbation)
    check(control, system, images, labels)
    eps = by(perturbation, EPS)["eps"]
    alone = attacks.preset(perturbation, eps=eps, **settings)
    if not TERMS[term].needs_maps and acts(term, perturbation, class_rule, system):
        alone = alone.replace(terms={term: 0.1})
    assert not alone.joint
    result = check(alone, system, images, labels)
    if alone.terms:
        assert bool(result.trace.columns[f"loss_{TERMS[term].name}"].isfinite().all())


@pytest.mark.parametrize("perturbation", list(PERTURBATIONS))
def test_all_interpreters_at_once_and_alone(world: World, perturbation: str) -> None:
    """The sum of the terms, whatever the batch."""
    assert_all_together(world, perturbation, *world.interpreters)


def test_interpreters_that_refuse_attention_together(world: World) -> None:
    assert world.plain is not None
    others = set(REGISTRY) - set(world.interpreters)
    assert others <= set(world.plain.interpreters)
    assert_all_together(world.plain, "pgd", *sorted(others), "cam")


def assert_all_together(world: World, perturbation: str, *interpreters: str) -> None:
    system = world.system(*interpreters)
    images, labels = images_and_labels(world, 2)
    attack = attacks.preset(
        "advedge", **by(perturbation, EPS), steps=(1, 2), target_map=attacks.RandomPatch(), early_stop=False
    )
    terms = [w.term for move in attack.build(system).stages[1].moves for w in move.terms]
    assert sum(isinstance(term, attacks.Interpretation) for term in terms) == len(interpreters)
    whole = attack(system, images, labels, control=False, noise_draws=1)
    assert set(whole.map_l1) == set(interpreters)
    alone = attack(system, images[1:], labels[1:], control=False, noise_draws=1)
    assert torch.equal(alone.adversarial[0], whole.adversarial[1])


@pytest.mark.parametrize("perturbation", list(PERTURBATIONS))
def test_untargeted_and_least_likely(world: World, perturbation: str) -> None:
    images, labels = images_and_labels(world, 8)
    logits = world.classifier.logits(images)
    system = uf.System(world.classifier, CAM())
    free = attacks.preset("adv2", **by(perturbation, EPS), steps=(10, 20), targeted=False)
    found = free(system, images, labels, control=False)
    assert found.target is None
    assert float(found.success.float().mean()) > 0
    aimed = attacks.preset("adv2", **by(perturbation, EPS), steps=(1, 1), target_class="least-likely")
    target = aimed(system, images, labels, control=False).target
    assert torch.equal(target, logits.argmin(1))


def test_small_settings_are_of_known_interpreters() -> None:
    assert set(SETTINGS) <= set(REGISTRY)
    assert MASK(**SETTINGS["mask"]) != MASK()
