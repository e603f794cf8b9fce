"""Every perturbation with every shaping, interpreter and target map, jointly and on the prediction alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import underfire as uf
from tests.conftest import by, smooth_images
from tests.interpreters.rts.makers import pyramid, write_masker
from underfire import attacks
from underfire.classifiers import check_images
from underfire.interpreters import CAM, MASK, RTS, Grad, GradCAM, Interpreter

EPS = 16 / 255


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[uf.Classifier, list[Interpreter], list[attacks.MapRule]]:
    """A network with all five interpreters, and the four kinds of target map."""
    folder = tmp_path_factory.mktemp("world")
    classifier = pyramid()
    interpreters: list[Interpreter] = [
        Grad(),
        CAM(),
        GradCAM(),
        MASK(iterations=3, refresh_every=2, free_steps=1, unrolled_steps=2),
        RTS(str(write_masker(folder, classifier))),
    ]
    images = check_images(smooth_images(40, 32, seed=9), classifier)
    labels = classifier.logits(images).argmax(1)
    pool = attacks.MapPool.read(uf.System(classifier, interpreters), images, labels, torch.arange(40))
    np.save(folder / "map.npy", np.eye(16, dtype=np.float32))
    rules = [
        attacks.BenignMap(),
        attacks.RandomPatch(),
        attacks.ClassMap(pool),
        attacks.GivenMap(str(folder / "map.npy")),
    ]
    return classifier, interpreters, rules


def check(attack: attacks.Preset, system: uf.System, images: torch.Tensor, labels: torch.Tensor) -> None:
    result = attack(system, images, labels)
    saved = result.adversarial
    assert torch.equal(saved, (saved * 255).round() / 255), "8 bits"
    assert bool(((saved >= 0) & (saved <= 1)).all())
    if attack.perturbation_name in ("pgd", "bim"):
        assert float(result.linf.max()) <= EPS + 1e-6
    weights = attack.build(system).shaping.weights(images)
    assert not (saved != images).any(1, keepdim=True)[weights == 0].any()
    for values in (*result.map_l1.values(), *result.map_l1_target.values(), *result.noise_map_l1.values()):
        assert bool(torch.isfinite(values).all())
    assert result.steps.tolist() == [attack.build(system).steps] * len(images)
    joint = result.success.clone()
    for name, limit in result.map_threshold.items():
        joint &= result.map_l1_target[name] < limit
    assert torch.equal(result.joint_success, joint)


@pytest.mark.parametrize("shaping", ["adv2", "advedge", "advedge+"])
@pytest.mark.parametrize("perturbation", ["pgd", "bim", "cw", "stadv"])
def test_every_combination(
    world: tuple[uf.Classifier, list[Interpreter], list[attacks.MapRule]], perturbation: str, shaping: str
) -> None:
    classifier, interpreters, rules = world
    images = smooth_images(3, 32, seed=2)
    labels = classifier.logits(images).argmax(1)
    joint = attacks.preset(shaping, **by(perturbation, EPS), steps=(1, 2), early_stop=False)
    for interpreter in interpreters:
        system = uf.System(classifier, interpreter)
        for rule in rules:
            check(replace(joint, target_map=rule), system, images, labels)
    check(joint.control(), uf.System(classifier, CAM()), images, labels)
    assert joint.control().perturbation_name == {"pgd": "bim"}.get(perturbation, perturbation)
    assert not joint.control().joint


@pytest.mark.parametrize("perturbation", ["pgd", "cw", "stadv"])
def test_all_interpreters_at_once_and_alone(
    world: tuple[uf.Classifier, list[Interpreter], list[attacks.MapRule]], perturbation: str
) -> None:
    """The sum of the terms, whatever the batch."""
    classifier, interpreters, rules = world
    system = uf.System(classifier, interpreters)
    images = smooth_images(9, 32, seed=2)
    labels = classifier.logits(images).argmax(1)
    attack = attacks.preset("advedge", **by(perturbation, EPS), steps=(2, 4), target_map=rules[1], early_stop=False)
    terms = [w.term for move in attack.build(system).stages[1].moves for w in move.terms]
    assert sum(isinstance(term, attacks.Interpretation) for term in terms) == 5
    whole = attack(system, images, labels)
    assert set(whole.map_l1) == {"grad", "cam", "gradcam", "mask", "rts"}
    alone = attack(system, images[5:6], labels[5:6])
    assert torch.equal(alone.adversarial[0], whole.adversarial[5])


def test_untargeted_and_least_likely(
    world: tuple[uf.Classifier, list[Interpreter], list[attacks.MapRule]],
) -> None:
    classifier, _, _ = world
    images = smooth_images(8, 32, seed=2)
    logits = classifier.logits(images)
    labels = logits.argmax(1)
    for perturbation in ("pgd", "cw", "stadv"):
        system = uf.System(classifier, CAM())
        free = attacks.preset("adv2", **by(perturbation, EPS), steps=(10, 20), targeted=False)
        found = free(system, images, labels)
        assert found.target is None
        assert float(found.success.float().mean()) > 0
        aimed = attacks.preset("adv2", **by(perturbation, EPS), steps=(1, 1), target_class="least-likely")(
            system, images, labels
        )
        assert torch.equal(aimed.target, logits.argmin(1))  # type: ignore[arg-type]
