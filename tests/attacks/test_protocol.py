"""The protocol: controls and limits against slow replicas, and passes that terms make by themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import underfire as uf
from tests.attacks.running import run_alone
from tests.attacks.test_replicas import slow_pgd
from tests.conftest import smooth_images, tiny_network
from underfire import attacks, metrics, randomness
from underfire.attacks import Point, Term
from underfire.attacks.benign import read_benign
from underfire.attacks.limits import all_at_once, joint_success, kept_limit

EPS = 0.06


def slow_noise(images: Tensor, ids: Tensor, eps: float, seed: int, number: int = 0) -> Tensor:
    """Every value goes up or down by the whole levels of eps, as far as it can, by the draw of its image."""
    drawn = randomness.uniform(seed, ids, "noise control", number, images.shape[1:])
    step, flat = int(eps * 255 + 1e-3), []
    for value, draw in zip(images.flatten().tolist(), drawn.flatten().tolist(), strict=True):
        level = round(value * 255)
        flat.append((min(255, level + step) if draw < 0.5 else max(0, level - step)) / 255)
    return torch.tensor(flat).view_as(images)


def distances(one: Tensor, other: Tensor) -> list[float]:
    """Mean absolute difference, image by image and cell by cell."""
    return [
        math.fsum(abs(a - b) for a, b in zip(x.flatten().tolist(), y.flatten().tolist(), strict=True)) / x.numel()
        for x, y in zip(one, other, strict=True)
    ]


def slow_chance(maps: Tensor) -> dict[str, float]:
    """The largest limits that 5 % of other images' maps, and of average maps, stay below; fewer than 20: none."""
    others = [
        distances(maps[i : i + 1], maps[j : j + 1])[0] for i in range(len(maps)) for j in range(len(maps)) if i != j
    ]
    means = [torch.cat([maps[:i], maps[i + 1 :]]).double().mean(0) for i in range(len(maps))]
    averages = [distances(maps[i : i + 1].double(), means[i].unsqueeze(0))[0] for i in range(len(maps))]
    return {
        name: max(limit for limit in values if sum(value < limit for value in values) <= 0.05 * len(values))
        for name, values in {"other": others, "average": averages}.items()
    }


def test_the_controls_of_a_call_by_hand(classifier: uf.Classifier) -> None:
    """Clean, noise, reseeded and prediction-only, and the limits and joint success that follow from them."""
    images, smooth = smooth_images(10, seed=4), uf.interpreters.SmoothGrad(samples=3)
    labels = classifier.logits(images).argmax(1)
    labels[7] = (labels[7] + 1) % 4
    ids = torch.arange(10) * 31
    system = uf.System(classifier, ["cam", smooth], readers="gradcam")
    found = uf.attack(system, images, labels, eps=EPS, steps=(4, 16), ids=ids, seed=5)
    assert list(found.controls) == ["clean", "bim", "reseeded", "noise"]
    readings = {"cam": uf.interpreters.CAM(), "smoothgrad": smooth, "gradcam": uf.interpreters.GradCAM()}
    benign = {name: part.maps(classifier, images, labels, ids=ids) for name, part in readings.items()}

    clean = found.controls["clean"]
    assert torch.equal(clean.images, images)
    assert torch.equal(clean.logits, classifier.logits(images))
    for name, maps in benign.items():
        assert torch.equal(clean.maps[name], maps)
        assert clean.map_l1[name].tolist() == [0] * 10
    assert torch.equal(clean.explained, labels)

    noise = found.controls["noise"]
    noisy = slow_noise(images, ids, EPS, 5)
    assert torch.equal(noise.images, noisy)
    for name, part in readings.items():
        assert noise.map_l1[name].tolist() == pytest.approx(
            distances(part.maps(classifier, noisy, labels, ids=ids), benign[name]), abs=1e-6
        )

    reseeded = found.controls["reseeded"]
    other = smooth.reseeded()
    floor = distances(other.maps(classifier, images, labels, ids=ids), benign["smoothgrad"])
    assert reseeded.map_l1["smoothgrad"].tolist() == pytest.approx(floor, abs=1e-6)
    assert min(floor) > 0
    assert reseeded.map_l1["cam"].tolist() == [0] * 10

    alone = found.controls["bim"]
    expected = slow_pgd(classifier, images, found.target, int(EPS * 255) / 255, 20)
    assert float((alone.images - expected).abs().gt(1e-6).float().mean()) < 2e-3
    assert torch.equal(alone.explained, found.target)
    read = uf.interpreters.CAM().maps(classifier, alone.images, found.target)
    assert alone.map_l1["cam"].tolist() == pytest.approx(distances(read, benign["cam"]), abs=1e-6)
    assert torch.equal(alone.success, classifier.logits(alone.images).argmax(1) == found.target)

    correct = classifier.logits(images).argmax(1) == labels
    assert correct.tolist() == [place != 7 for place in range(10)] == found.correct_before.tolist()
    together = np.ones(10, dtype=bool)
    for name in readings:
        drawn = [slow_noise(images, ids, EPS, 5, number) for number in range(5)]
        moved = [readings[name].maps(classifier, each, labels, ids=ids) for each in drawn]
        shifts = [distances(each[correct], benign[name][correct]) for each in moved]
        bounds = {"noise": np.percentile(shifts, 95), **slow_chance(benign[name][correct])}
        limit = min(bounds.values())
        assert found.limits[name].draws == 5
        assert bounds[found.limits[name].set_by] == limit
        assert found.map_limit[name].tolist() == pytest.approx([limit] * 10)
        own = np.minimum(np.max(shifts, axis=0), min(bounds["other"], bounds["average"]))
        assert found.limits[name].own[correct.numpy()].tolist() == pytest.approx(own.tolist())
        kept = [bool(correct[i] and found.success[i] and float(found.map_l1[name][i]) < limit) for i in range(10)]
        assert found.joint_success[name].tolist() == kept
        if name != "gradcam":
            together &= kept
    assert found.joint_success_all.tolist() == together.tolist(), "readers do not count"
    summary = found.summary()
    assert next(iter(summary)) == "joint_success_all"
    assert summary["joint_success/cam"].n == 9


def test_the_limit_of_another_target_by_hand(classifier: uf.Classifier) -> None:
    images = smooth_images(8, seed=4)
    labels = classifier.logits(images).argmax(1)
    wanted = np.eye(8, dtype=np.float32)
    found = uf.attack(classifier, images, labels, eps=0.2, steps=(4, 30), target_map=wanted)
    eye = torch.from_numpy(wanted).expand(8, -1, -1)
    far = distances(uf.interpreters.CAM().maps(classifier, images, labels), eye)
    near = distances(found.maps["cam"], eye)
    assert found.map_limit["cam"].tolist() == pytest.approx([0.5 * each for each in far])
    expected = [s and n < 0.5 * f for s, n, f in zip(found.success.tolist(), near, far, strict=True)]
    assert found.joint_success["cam"].tolist() == expected
    assert found.controls["clean"].map_l1_target["cam"].tolist() == pytest.approx(far, abs=1e-6)


@pytest.mark.parametrize("perturbation", ["cw", "stadv"])
def test_a_larger_change_does_not_loosen_the_limit(classifier: uf.Classifier, perturbation: str) -> None:
    """Without a ball, the noise has the size of the default ball, whatever the attack changes."""
    images = smooth_images(6, seed=4)
    labels = classifier.logits(images).argmax(1)
    small, large = (
        uf.attack(classifier, images, labels, perturbation=perturbation, steps=steps, ids=torch.arange(6))
        for steps in ((1, 1), (5, 40))
    )
    assert float(large.l2.mean()) > float(small.l2.mean())
    assert torch.equal(large.map_limit["cam"], small.map_limit["cam"])
    noisy = slow_noise(images, torch.arange(6), 0.031, 0)
    assert torch.equal(large.controls["noise"].images, noisy)


def test_attacks_with_other_sizes_of_noise_have_noise_of_their_own(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, ["cam", "grad"])
    one, other = (attacks.preset("adv2", eps=eps).build(system) for eps in (0.1, 0.2))
    cam, grad = (attacks.Asked(each, (name,)) for each, name in ((one, "cam"), (other, "grad")))
    labels = [arm.label for arm in attacks.arms_of(system, [cam, grad])]
    assert labels == ["clean", "adv2-cam-eps0.1", "adv2-grad-eps0.2", "noise-eps0.1", "noise-eps0.2"]
    same = attacks.Asked(one, ("grad",))
    assert [arm.label for arm in attacks.arms_of(system, [cam, same])][-1] == "noise"


def test_control_false_leaves_out_the_control_alone(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    preset = attacks.preset("adv2", eps=EPS, steps=(2, 4))
    system = uf.System(classifier, "cam")
    both, alone = preset(system, images, labels), preset(system, images, labels, control=False)
    assert set(both.controls) == {"clean", "bim", "noise"}
    assert set(alone.controls) == {"clean", "noise"}
    assert torch.equal(both.adversarial, alone.adversarial)
    assert torch.equal(both.joint_success_all, alone.joint_success_all)
    built = preset.build(system)
    own = attacks.preset("cw", steps=(0, 3)).build(system)
    chosen = built(system, images, labels, control=own)
    assert set(chosen.controls) == {"clean", "cw", "noise"}
    assert torch.equal(chosen.controls["cw"].images, own(system, images, labels).adversarial)


# Passes that a term makes by itself


@dataclass(frozen=True)
class Passes(Term):
    """The prediction term in passes of its own: two with a gradient, one without."""

    name: ClassVar[str] = "passes"

    def __call__(self, point: Point) -> Tensor:
        with torch.no_grad():
            point.run(point.image)
        point.run(point.image.detach())
        first, second = point.run(point.image), point.run(point.image.flip(3))
        return point.goal.cross_entropy(first, point.classes) + 0 * second.sum(1)


def test_passes_of_a_term_are_counted(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    """Against a hand count, and what the network saw. Fault 6 of the issue: a term had to count by hand."""
    system = uf.System(classifier, "cam")
    terms = (attacks.Weighted(attacks.Prediction()), attacks.Weighted(Passes()))
    move = attacks.Move(terms, 1 / 255)
    attack = attacks.Attack("x", (attacks.Stage("one", 5, (move,)),), attacks.PGD(EPS))
    view, benign = system.view(), read_benign(system, images, labels)
    seen = [0, 0]

    def forward(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        seen[0] += 1
        if output.requires_grad:
            output.register_hook(lambda _gradient: seen.__setitem__(1, seen[1] + 1))

    view.prepared.module.head.register_forward_hook(forward)
    _, outcome = run_alone(attack, view, benign)
    # Each step: one pass of the attack, four of the term, three of them differentiated. Then a last look.
    assert outcome.forwards.tolist() == [5 * (1 + 4) + 1] * 6
    assert outcome.backwards.tolist() == [5 * (1 + 2)] * 6
    probe = 1
    assert seen == [5 * 5 + 1 + probe, 5 * 3 + probe]
    plain = attacks.Attack("y", (attacks.Stage("one", 5, (attacks.Move(terms[:1], 1 / 255),)),), attacks.PGD(EPS))
    _, once = run_alone(plain, view, benign)
    assert once.forwards.tolist() == [5 + 1] * 6
    assert torch.equal(once.last, outcome.last), "twice the same gradient has the same signs"


def test_images_that_leave_early_count_no_more_passes(classifier: uf.Classifier) -> None:
    images = smooth_images(24, seed=2)
    labels = classifier.logits(images).argmax(1)
    stop = attacks.EarlyStop(after=0.1, patience=0.05, tolerance=0.5)
    move = attacks.Move((attacks.Weighted(attacks.Prediction()), attacks.Weighted(Passes())), 1 / 255)
    attack = attacks.Attack("x", (attacks.Stage("one", 60, (move,)),), attacks.PGD(0.2), early_stop=stop)
    found = attack(uf.System(classifier, "cam"), images, labels)
    early = found.steps < 60
    assert bool(early.any())
    assert found.forwards[early].tolist() == (5 * found.steps[early]).tolist()
    assert found.forwards[~early].tolist() == [5 * 60 + 1] * int((~early).sum())


# Limits


FLAG = st.booleans()


@given(rows=st.lists(st.tuples(FLAG, FLAG, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
@settings(deadline=None)
def test_joint_success_is_all_three(rows: list[tuple[bool, bool, float, float]]) -> None:
    success, correct, distance, limit = (np.array(column) for column in zip(*rows, strict=True))
    found = joint_success(success, correct, distance, limit)
    assert found.tolist() == [s and c and d < m for s, c, d, m in rows]
    assert not joint_success(success, correct, limit, limit).any(), "as far as the limit is too far"
    looser = joint_success(success, correct, distance, limit + 0.1)
    assert bool((looser >= found).all())
    both = all_at_once({"a": found, "b": success})
    assert both.tolist() == (found & success).tolist()
    assert all_at_once({"a": found}).tolist() == found.tolist()


def test_limits_of_a_call_follow_the_functions() -> None:
    """One path: what a call in Python says is what the functions of the files say."""
    classifier = uf.Classifier(tiny_network(), image_size=16)
    images = smooth_images(9, seed=8)
    labels = classifier.logits(images).argmax(1)
    found = uf.attack(classifier, images, labels, eps=0.1, steps=(3, 9), interpreters=["cam", "grad"])
    correct = found.correct_before.numpy()
    system = uf.System(classifier, ["cam", "grad"])
    identities = randomness.identify(images)
    draws = [
        system.maps(attacks.PGD(0.1).noise(images, identities, 0, draw), labels, identities) for draw in range(1, 5)
    ]
    more = {
        name: np.stack([metrics.map_l1(maps[name], found.benign_maps[name]).double().numpy() for maps in draws], axis=1)
        for name in ("cam", "grad")
    }
    for name in ("cam", "grad"):
        maps = found.benign_maps[name]
        noise = np.concatenate([found.controls["noise"].map_l1[name].double().numpy()[:, None], more[name]], axis=1)
        expected = kept_limit(noise, correct, lambda rows, maps=maps: maps[list(rows)]).values
        assert found.map_limit[name].tolist() == expected.tolist()
        joint = joint_success(found.success.numpy(), correct, found.map_l1_target[name].double().numpy(), expected)
        assert found.joint_success[name].tolist() == joint.tolist()
    each = {name: values.numpy() for name, values in found.joint_success.items()}
    assert found.joint_success_all.tolist() == all_at_once(each).tolist()


def test_parts_of_a_view_are_not_recorded_either(classifier: uf.Classifier) -> None:
    """Regression: attacks on one of two interpreters were recorded, although this was turned off."""
    preset, system = uf.attacks.preset("adv2", eps=EPS), uf.System(classifier, ["cam", "grad"])
    about = [uf.attacks.Asked(preset.build(system.only([name])), (name,)) for name in ("cam", "grad")]
    experiment = uf.attacks.Experiment(system, uf.attacks.arms_of(system, about), seed=0, size=(16, 16))
    assert experiment.view_of(["cam"]).records_steps
    experiment.view.records_steps = False
    assert not any(experiment.view_of(names).records_steps for names in (["cam"], ["grad"], ["cam", "grad"]))
