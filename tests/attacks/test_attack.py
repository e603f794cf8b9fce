"""Whole attacks: against slow replicas, other libraries, and the promises that every result keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import underfire as uf
from tests.attacks.running import run_alone
from tests.conftest import smooth_images, tiny_network
from underfire import attacks
from underfire.errors import InputError

EPS = 8 / 255


@pytest.mark.parametrize("interpreter", [uf.interpreters.CAM(), uf.interpreters.GradCAM(), uf.interpreters.Grad()])
def test_a_batch_is_its_images_one_by_one(classifier: uf.Classifier, interpreter: uf.interpreters.Interpreter) -> None:
    images = smooth_images(11, seed=2)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, interpreter)
    attack = attacks.preset("adv2", eps=EPS, steps=(6, 20)).build(system)
    attack = replace(attack, early_stop=attacks.EarlyStop(after=0.2, patience=0.1, tolerance=0.05))
    whole = attack(system, images, labels)
    assert len(whole.steps.unique()) > 1, "some images are to leave before others"
    for size in (1, 7):
        again = attack(system, images, labels, batch_size=size)
        assert torch.equal(whole.adversarial, again.adversarial), size
        for name in ("success", "steps", "best_step", "forwards", "backwards", "confidence"):
            assert torch.equal(getattr(whole, name), getattr(again, name)), (size, name)
        assert torch.equal(whole.map_l1[interpreter.name], again.map_l1[interpreter.name])
    alone = attack(system, images[4:5], labels[4:5])
    assert torch.equal(alone.adversarial[0], whole.adversarial[4])


def test_an_image_leaves_at_the_first_look_at_which_its_map_is_near_enough(classifier: uf.Classifier) -> None:
    """Against the recorded course of the attack in which nobody leaves. Steps are looked at two by two: 100 / 50."""
    images = smooth_images(16, seed=2)
    labels = classifier.logits(images).argmax(1)
    system, enough = uf.System(classifier, uf.interpreters.CAM()), 0.02
    attack = attacks.preset("auto", eps=4 * EPS, budget=100).build(system)
    whole = attack(system, images, labels, trace_every=1)
    stop = attacks.EarlyStop(after=1.0, enough=enough)
    leaving = replace(attack, early_stop=stop)(system, images, labels)
    assert whole.trace is not None
    course = whole.trace.columns
    near = (course["success"] == 1) & (course["map_l1/cam"] < enough)
    for image in range(16):
        looked = [step + 1 for step in range(0, 100, 2) if near[: step + 1, image].any()]
        assert int(leaving.steps[image]) == (looked[0] if looked else 100), image
    assert len(leaving.steps.unique()) > 3
    left = leaving.steps < 100
    assert bool((leaving.map_l1["cam"][left] < enough).all())
    assert torch.equal(leaving.adversarial[~left], whole.adversarial[~left])


@given(
    eps=st.floats(1 / 255, 0.5),
    seed=st.integers(0, 2**31),
    name=st.sampled_from(["adv2", "pgd", "bim"]),
    extreme=st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_every_result_is_a_valid_eight_bit_image_in_the_ball(eps: float, seed: int, name: str, extreme: bool) -> None:
    classifier = uf.Classifier(tiny_network())
    images = smooth_images(3, 8, seed=seed)
    images = images.round() if extreme else images
    labels = classifier.logits(images).argmax(1)
    result = attacks.preset(name, eps=eps, steps=(2, 3))(
        uf.System(classifier, uf.interpreters.CAM()), images, labels, seed=seed, control=False
    )
    levels = result.adversarial * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert 0 <= float(result.adversarial.min()) <= float(result.adversarial.max()) <= 1
    assert float((result.adversarial - images).abs().max()) <= eps + 1e-5
    verdict = classifier.logits(result.adversarial).argmax(1)
    assert torch.equal(result.success, verdict == result.target)
    assert torch.equal(result.untargeted_success, verdict != labels)


def test_maps_and_distances_are_those_of_the_saved_image(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    interpreter = uf.interpreters.Grad()
    result = attacks.preset("adv2", eps=EPS, steps=(3, 6))(uf.System(classifier, interpreter), images, labels)
    assert result.target is not None
    maps = interpreter.maps(classifier, result.adversarial, result.target)
    benign = interpreter.maps(classifier, images, labels)
    assert torch.equal(maps, result.maps["grad"])
    assert torch.equal(benign, result.benign_maps["grad"])
    assert torch.allclose(result.map_l1["grad"], (maps - benign).abs().mean((1, 2)), atol=1e-6)
    assert torch.allclose(result.l2, (result.adversarial - images).flatten(1).norm(dim=1), atol=1e-5)
    low = result.map_l1_target["grad"] < result.map_limit["grad"]
    assert torch.equal(result.joint_success["grad"], result.success & low)
    assert torch.equal(result.joint_success_all, result.success & low)
    limit = result.limits["grad"]
    assert limit.noise is not None
    assert limit.noise[:, 0].tolist() == result.controls["noise"].map_l1["grad"].tolist()
    bounds = (float(np.quantile(limit.noise, 0.95)), limit.by_other, limit.by_average)
    assert result.map_limit["grad"].tolist() == pytest.approx([min(bounds)] * len(images))


def test_a_failed_attack_returns_its_last_iterate(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    """At one level and one step nothing succeeds: the image is the sign step, not the benign image, and not black."""
    system = uf.System(classifier, uf.interpreters.CAM())
    attack = attacks.preset(
        "bim", eps=1 / 255, steps=(0, 1), target_class=attacks.GivenClass(tuple(((labels + 1) % 4).tolist()))
    )
    result = attack(system, images, labels)
    failed = ~result.success
    assert bool(failed.any())
    assert torch.equal(result.best_step[failed], torch.full_like(result.best_step[failed], -1))
    assert bool(((result.adversarial - images).abs().flatten(1).amax(1)[failed] > 0.9 / 255).all())


def test_untargeted(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, uf.interpreters.CAM())
    result = attacks.preset("adv2", eps=EPS, steps=(10, 20), targeted=False)(system, images, labels)
    assert result.target is None
    assert torch.equal(result.success, result.untargeted_success)
    assert float(result.success.float().mean()) > 0.5
    verdict = classifier.logits(result.adversarial)
    explained = verdict.scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1)
    assert torch.equal(result.maps["cam"], uf.interpreters.CAM().maps(classifier, result.adversarial, explained))


def test_target_rules(classifier: uf.Classifier) -> None:
    images = smooth_images(64, seed=9)
    logits = classifier.logits(images)
    labels = logits.argmax(1)
    benign = attacks.benign.read_benign(uf.System(classifier, uf.interpreters.CAM()), images, labels)
    view = uf.System(classifier, "cam").view()
    drawn = attacks.RandomClass().classes(view, benign, 0)
    assert not bool((drawn == labels).any())
    assert len(drawn.unique()) == 4
    assert not torch.equal(drawn, attacks.RandomClass().classes(view, benign, 1))
    assert torch.equal(attacks.LeastLikely().classes(view, benign, 0), logits.argmin(1))
    wrong = attacks.benign.read_benign(uf.System(classifier, uf.interpreters.CAM()), images, logits.argmin(1))
    found = attacks.LeastLikely().classes(view, wrong, 0)
    assert torch.equal(found, logits.argsort(1)[:, 1]), "never an image's own class"


def test_random_classes_among_some(classifier: uf.Classifier) -> None:
    """Who draws one of them keeps it when others are left out; the rest share what is left alike."""
    ids, labels = torch.arange(4000) * 977, torch.arange(4000) % 50
    none = torch.zeros(4000, 3, 1, 1)
    benign = attacks.benign.Benign(none, labels, ids, torch.zeros(4000, 1000), {})
    view = uf.System(classifier, "cam").view()
    every = attacks.RandomClass().classes(view, benign, 3)
    assert torch.equal(attacks.RandomClass(tuple(range(1000))).classes(view, benign, 3), every)
    most = attacks.RandomClass(tuple(range(1, 1000, 2))).classes(view, benign, 3)
    odd = every % 2 == 1
    assert torch.equal(most[odd], every[odd])
    assert bool((most % 2 == 1).all())
    few = attacks.RandomClass((3, 7, 400, 999)).classes(view, benign, 3)
    counts = torch.bincount(few[labels > 7], minlength=1000)
    assert counts.nonzero().flatten().tolist() == [3, 7, 400, 999]
    assert int(counts.max() - counts[counts > 0].min()) < 200, counts[counts > 0]
    assert not bool((few == labels).any())
    one = benign.take(torch.tensor([77]))
    assert attacks.RandomClass((999, 3, 7, 400)).classes(view, one, 3).tolist() == few[77:78].tolist()
    with pytest.raises(InputError, match="no target class for image 7 of class 7"):
        attacks.RandomClass((7,)).classes(view, benign, 3)
    with pytest.raises(InputError, match=r"among ranges over 3\.\.1000"):
        attacks.RandomClass((3, 1000)).classes(view, benign, 3)


def test_the_counts_are_what_the_network_saw(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, [uf.interpreters.CAM(), uf.interpreters.Grad()])
    view, calls = system.view(), [0, 0]

    def forward(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        calls[0] += 1

    attack = replace(attacks.preset("adv2", eps=EPS, steps=(5, 8)).build(system), early_stop=None)
    benign = attacks.benign.read_benign(system, images, labels)
    run_alone(attack, view, benign)  # whatever happens once per view is over
    view.prepared.module.head.register_forward_hook(forward)
    _, outcome = run_alone(attack, view, benign)
    probe = 1 + 2  # the looks at logits and views before the first step are no part of the attack
    # 5 warm-up passes; 8 joint steps and the final look with two passes each (exact for CAM, smoothed for Grad)
    assert calls[0] - probe == 5 + 9 * 2
    assert outcome.forwards.tolist() == [calls[0] - probe] * 6
    assert outcome.backwards.tolist() == [5 + 8 * 3 + 1] * 6
    assert outcome.steps.tolist() == [13] * 6


def test_the_trace(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, uf.interpreters.CAM())
    attack = attacks.preset("adv2", eps=EPS, steps=(4, 8))
    plain = attack(system, images, labels, batch_size=4)
    traced = attack(system, images, labels, batch_size=4, trace_every=2)
    assert torch.equal(plain.adversarial, traced.adversarial), "watching changes nothing"
    assert torch.equal(plain.forwards, traced.forwards)
    trace = traced.trace
    assert trace is not None
    assert trace.steps == [0, 2, 4, 6, 8, 10]
    assert trace.stages == ["warm-up"] * 2 + ["joint"] * 4
    columns = trace.columns
    assert columns["success"].shape == (6, 6)
    assert bool(columns["map_l1/cam"][:, 0].isfinite().all())
    assert bool(columns["loss_interpretation"][:2].isnan().all())
    assert traced.target is not None
    expected = F.cross_entropy(classifier(images), traced.target, reduction="none")
    assert torch.allclose(columns["loss_prediction"][0], expected, atol=1e-4)


def test_seeds_decide(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, uf.interpreters.CAM())
    attack = attacks.preset("pgd", eps=EPS, steps=(2, 3))
    first, again, other = (attack(system, images, labels, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.adversarial, again.adversarial)
    assert not torch.equal(first.adversarial, other.adversarial)


def test_progress_is_reported(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    heard: list[tuple[int, int]] = []
    attack = attacks.preset("bim", eps=EPS, steps=(1, 2))
    attack(
        uf.System(classifier, uf.interpreters.CAM()),
        smooth_images(12),
        classifier.logits(smooth_images(12)).argmax(1),
        batch_size=8,
        progress=lambda step, total: heard.append((step, total)),
        control=False,
    )
    assert heard == [(step, 6) for step in range(1, 7)]
