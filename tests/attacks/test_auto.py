"""``auto``: its parts against closed forms, the whole against a slow replica, and its settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import underfire as uf
from tests.attacks.test_parts import no_passes
from tests.attacks.test_replicas import eight_bit, slow_cam, targets_of
from underfire import attacks
from underfire.attacks.pricing import Pricing
from underfire.attacks.rules import SignOfMomentum
from underfire.attacks.schedule import Cosine
from underfire.attacks.terms import Point, Presence
from underfire.classifiers import Recorded
from underfire.errors import InputError

EPS = 0.2


def test_a_cosine_falls_from_start_to_end() -> None:
    weight = Cosine(3.0, 1.0)
    assert weight.at(0) == 3
    assert weight.at(0.5) == pytest.approx(2)
    assert weight.at(1) == pytest.approx(1)
    assert weight.at(1 / 3) == pytest.approx(1 + 2 * 0.75)


@given(st.lists(st.lists(st.floats(-3, 3), min_size=12, max_size=12), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_each_image_has_a_price_of_its_own(margins: list[list[float]]) -> None:
    pricing = Pricing(start=0.5, fall=0.8, rise=1.5, margin=0.25, low=0.1, high=4.0)
    state = pricing.begin(torch.zeros(len(margins), 3, 2, 2, dtype=torch.float64))
    expected = [0.5] * len(margins)
    for step in range(12):
        now = [row[step] for row in margins]
        logits = torch.tensor([[0.0, margin] for margin in now], dtype=torch.float64)  # class 0 is the target
        state = pricing.update(state, point_of({}, {}, logits))
        factors = [0.8 if margin < -0.25 else 1.5 for margin in now]
        expected = [min(4.0, max(0.1, price * factor)) for price, factor in zip(expected, factors, strict=True)]
    assert state["price"].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [{"fall": 1.1}, {"rise": 0.9}, {"start": 40.0}, {"low": 0.0}, {"margin": -1.0}])
def test_an_impossible_pricing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected 0 < fall"):
        Pricing(**wrong)


def test_the_momentum_adds_up_unit_gradients() -> None:
    torch.manual_seed(0)
    gradients = torch.randn(5, 3, 2, 4, 4, dtype=torch.float64)
    scales = torch.tensor([1.0, 1e-6, 1e6], dtype=torch.float64).view(3, 1, 1, 1)
    rule = SignOfMomentum(0.6)
    state = rule.start(gradients[0])
    sums = [torch.zeros(2, 4, 4, dtype=torch.float64)] * 3
    for gradient in gradients:
        direction, state = rule.direction(gradient * scales, state)
        sums = [
            0.6 * total + one / math.sqrt(float(one.square().sum())) for total, one in zip(sums, gradient, strict=True)
        ]
        assert torch.equal(direction, -torch.stack(sums).sign())
    still, _ = rule.direction(torch.zeros_like(gradients[0]), rule.start(gradients[0]))
    assert bool((still == 0).all())


def point_of(looks: dict[str, Tensor], targets: dict[str, Tensor], logits: Tensor | None = None) -> Point:
    logits = torch.zeros(len(next(iter(targets.values()))), 4) if logits is None else logits
    count = len(logits)
    some = torch.zeros(count, dtype=torch.float64)
    said = uf.system.Reading(Recorded(logits, None, None, None, ()), looks, {})
    return Point(some, said, torch.zeros(count, dtype=torch.int64), attacks.Goal(), targets, some, some, run=no_passes)


def test_a_relative_distance_does_not_depend_on_the_scale() -> None:
    torch.manual_seed(0)
    looks, target = torch.rand(4, 2, 5, 6, dtype=torch.float64), torch.rand(4, 5, 6, dtype=torch.float64)
    term = attacks.Interpretation("relative")
    found = term(point_of({"a": looks}, {"a": target}))
    apart = looks - target.unsqueeze(1)
    expected = [0.5 * math.log(float(one.square().mean())) + math.log(float(one.abs().mean())) for one in apart]
    assert found.tolist() == pytest.approx(expected, rel=1e-3)
    half = term(point_of({"a": target.unsqueeze(1) + apart / 2}, {"a": target}))
    assert torch.allclose(found - half, torch.full_like(found, 2 * math.log(2)), atol=2e-3)
    same = target.unsqueeze(1).requires_grad_()
    value = term(point_of({"a": same}, {"a": target}))
    (gradient,) = torch.autograd.grad(value.sum(), same)
    assert bool(value.isfinite().all())
    assert bool(gradient.isfinite().all())


def slow_auto(classifier: uf.Classifier, image: Tensor, label: int, target: int, steps: int) -> tuple[Tensor, float]:
    """``auto`` on CAM for one image, and the map distance of the iterate that is kept."""
    goal = slow_cam(classifier, image, label)[1].detach()
    eps = eight_bit(EPS)
    x, best, lowest, price, momentum = image.clone(), None, float("inf"), 1.0, torch.zeros_like(image)
    for step in range(steps + 1):
        y = x.mul(255).round().div(255).requires_grad_()
        logits, cam = slow_cam(classifier, y, target)
        distance = float((cam - goal).detach().abs().mean())
        if int(logits.argmax()) == target and distance < lowest:
            best, lowest = y.detach().clone(), distance
        if step == steps:
            break
        apart = cam - goal
        root = (apart.square().mean() + 1e-8).sqrt()
        loss = price * F.cross_entropy(logits, torch.tensor([target])) + (root * (apart.abs().mean() + 1e-4)).log()
        (gradient,) = torch.autograd.grad(loss, y)
        others = [float(logits[0, k].detach()) for k in range(4) if k != target]
        met = max(others) - float(logits[0, target].detach()) < -0.1
        price = min(30.0, max(1e-3, price * (0.85 if met else 1.3)))
        momentum = 0.75 * momentum + gradient / gradient.norm()
        size = EPS * (0.004 + (0.375 - 0.004) * (1 + math.cos(math.pi * step / (steps - 1))) / 2)
        x = (x - size * momentum.sign()).clamp(image - eps, image + eps).clamp(0, 1)
    return (x.mul(255).round().div(255) if best is None else best), lowest


def test_auto_against_a_slow_replica(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    targets = targets_of(labels)
    system = uf.System(classifier, uf.interpreters.CAM())
    rule = attacks.GivenClass(targets)
    result = attacks.preset("auto", eps=EPS, budget=16, target_class=rule)(system, images, labels, control=False)
    reached = 0
    for row in range(len(images)):
        expected, distance = slow_auto(classifier, images[row], int(labels[row]), targets[row], 16)
        assert float((result.adversarial[row] - expected).abs().gt(1e-6).float().mean()) < 0.02
        if distance < float("inf"):
            reached += 1
            assert float(result.map_l1["cam"][row]) == pytest.approx(distance, abs=3e-3)
    assert reached


def test_a_step_takes_one_gradient(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, uf.interpreters.CAM())
    result = attacks.preset("auto", eps=EPS, budget=7)(system, images, labels, control=False)
    assert result.steps.tolist() == [7] * len(images)
    assert result.backwards.tolist() == [7] * len(images)


def test_the_control_has_as_many_steps(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, uf.interpreters.CAM())
    auto = attacks.preset("auto", eps=EPS, budget=30)
    assert auto.build(system).steps == 30
    control = auto.control().build(system)
    assert control.steps == 30
    assert not control.joint
    assert control.pricing is None
    assert attacks.preset("auto").build(system).steps == 200


def test_the_encoder_of_rts_counts_for_a_tenth_of_its_published_weight(classifier: uf.Classifier) -> None:
    def others(*names: str) -> list[tuple[float, bool]]:
        system = uf.System(classifier, names)
        terms = attacks.preset("auto", eps=0.1, budget=5).build(system).stages[0].moves[0].terms
        return [(each.weight, each.priced) for each in terms if isinstance(each.term, Presence)]

    assert others("rts") == others("cam", "rts") == [(0.1, False)]
    assert others("cam", "grad", "mask") == []


def test_a_budget_does_not_follow_to_another_attack() -> None:
    """Regression: ``replace`` handed the default budget to an attack that has none."""
    assert attacks.preset("auto").replace(attack="adv2").budget is None
    assert attacks.preset("adv2").replace(attack="auto").budget == 200
    assert attacks.preset("auto", budget=7).replace(eps=0.1).budget == 7


@pytest.mark.parametrize("variant", ["paper", "published"])
def test_the_control_has_the_same_edges(classifier: uf.Classifier, variant: str) -> None:
    """Regression: with the published scope of edges, the control of ``auto`` had none."""
    system = uf.System(classifier, uf.interpreters.CAM())
    auto = attacks.preset("auto", eps=EPS, shaping="edge", variant=variant, budget=5)
    for attack in (auto.build(system), auto.control().build(system)):
        assert attack.shaping == attacks.Edge()
        assert all(stage.shaped for stage in attack.stages)
    assert attacks.PGD(EPS, random_start=False, evened=True).alone() == attacks.BIM(EPS, evened=True)


@pytest.mark.parametrize("shaping", ["edge", "edge-mask"])
def test_the_control_moves_as_far_along_edges(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, shaping: str
) -> None:
    """Regression: the steps of the control were weighted by edges, and so shorter than those of ``auto``."""
    system = uf.System(classifier, uf.interpreters.CAM())
    auto = attacks.preset("auto", eps=EPS, shaping=shaping, budget=5)
    attack, control = auto.build(system), auto.control().build(system)
    assert control.perturbation == attacks.BIM(EPS, rounded=True, evened=True)
    assert control.perturbation == attack.perturbation.alone()
    ids = torch.arange(len(images))
    weights = auto.effective_shaping.weights(images)
    steps = [part.perturbation.start(images, weights, ids, 0)["weights"] for part in (attack, control)]
    assert torch.equal(*steps)
    assert auto(system, images, labels).prediction_only == f"bim-{shaping}"


def test_the_control_without_edges_is_that_of_adv2(classifier: uf.Classifier) -> None:
    system = uf.System(classifier, uf.interpreters.CAM())
    control = attacks.preset("auto", eps=EPS, budget=5).control().build(system)
    assert control == attacks.preset("adv2", eps=EPS, steps=(0, 5)).control().build(system)


def test_noise_draws_in_one_call(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    result = uf.attack(classifier, images, labels, "auto", eps=EPS, budget=2, noise_draws=1)
    assert result.limits["cam"].draws == 1


def test_evened_weights_have_the_mean_of_no_shaping() -> None:
    torch.manual_seed(0)
    weights = torch.rand(3, 1, 6, 6) * (torch.rand(3, 1, 6, 6) > 0.5)
    weights[2] = 0
    part = attacks.PGD(EPS, random_start=False, evened=True)
    images, ids = torch.rand(3, 3, 6, 6), torch.arange(3)
    for made in (
        part.start(images, weights, ids, 0),
        part.reshaped(part.start(images, weights * 0 + 1, ids, 0), weights),
    ):
        for row in range(2):
            some = made["weights"][row][weights[row] != 0]
            assert float(some.mean()) == pytest.approx(1, rel=1e-5)
            assert bool(((made["weights"][row] == 0) == (weights[row] == 0)).all())
        assert bool((made["weights"][2] == 0).all())
    mask = (weights > 0.3).float()
    assert torch.allclose(part.start(images, mask, ids, 0)["weights"], mask)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attack": "auto", "steps": (4, 5)}, r"steps is \(4, 5\), and auto chooses that by itself.*budget"),
        ({"attack": "auto", "perturbation": "cw", "search": 3}, "search is 3, and auto chooses"),
        ({"attack": "auto", "budget": 0}, "budget is 0; expected at least 1"),
        ({"attack": "auto", "budget": "200"}, "budget is '200'; expected a whole number"),
        ({"attack": "auto", "budget": 200.5}, "budget is 200.5; expected a whole number"),
        ({"attack": "auto", "shaping": "edge", "edge_scope": "warmup"}, "edge_scope is warmup, and auto chooses"),
        ({"attack": "adv2", "budget": 100}, "budget is 100, and attack 'adv2' has steps instead"),
        ({"attack": "pgd", "budget": 100}, "only auto and square have a budget"),
    ],
)
def test_the_budget_is_its_only_setting(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        attacks.preset(**arguments)
