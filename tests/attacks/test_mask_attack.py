"""The joint attack on MASK: two moves per step, ranked by fresh solutions on 8-bit images, independent of the batch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.attacks.running import run_alone
from tests.attacks.test_auto import point_of
from tests.conftest import smooth_images
from underfire import attacks
from underfire.attacks.aim import Aim
from underfire.attacks.benign import read_benign
from underfire.attacks.loop import Loop
from underfire.attacks.terms import Point
from underfire.errors import ClassifierError
from underfire.interpreters import MASK
from underfire.interpreters.mask_view import MaskView

EPS = 16 / 255
QUICK = MASK(iterations=12, refresh_every=6)


def quick_attack(system: uf.System, steps: tuple[int, int] = (6, 15)) -> attacks.Attack:
    return attacks.preset("adv2", eps=EPS, steps=steps).build(system)


def test_the_preset(classifier: uf.Classifier) -> None:
    attack = attacks.preset("adv2").build(uf.System(classifier, MASK()))
    warmup, joint = attack.stages
    assert (warmup.steps, joint.steps) == (400, 1000)
    assert warmup.moves[0].terms[0].term == attacks.Prediction("margin", kappa=math.inf)
    first, second = joint.moves
    assert not first.reads_maps
    assert second.reads_maps
    assert isinstance(second.guard, attacks.MarginGuard)
    # L2 steps of 0.05 and 0.08, later 0.04, at 224 x 224, and 32/224 of that at 32 x 32
    for side in (32, 224):
        root = math.sqrt(3 * side * side)
        assert first.size_at(0) * root == pytest.approx(0.05 * side / 224)
        assert second.size_at(0.5) * root == pytest.approx(0.08 * side / 224)
        assert second.size_at(1) * root == pytest.approx(0.04 * side / 224)
    for steps, stretch in ((500, 2), (100, 4), (2000, 1)):
        short = attacks.preset("adv2", steps=(40, steps)).build(uf.System(classifier, MASK())).stages[1]
        for move, whole in zip(short.moves, joint.moves, strict=True):
            assert move.size_at(0) == pytest.approx(stretch * whole.size_at(0))
    control = attacks.preset("adv2", steps=(40, 160)).control().build(uf.System(classifier, MASK()))
    assert control.steps == 200
    assert not control.joint
    both = attacks.preset("adv2").build(uf.System(classifier, [MASK(), uf.interpreters.CAM()]))
    assert [len(move.terms) for move in both.stages[1].moves] == [1, 2]


def test_unit_rms_does_not_depend_on_the_size() -> None:
    small, large = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 64, 64)
    for gradient in (small, large, 1e-6 * small):
        direction = attacks.UnitRMS().direction(gradient, {})[0]
        assert torch.allclose(direction.square().mean((1, 2, 3)).sqrt(), torch.ones(2), atol=1e-5)
        norm = attacks.UnitL2().direction(gradient, {})[0] * math.sqrt(gradient[0].numel())
        assert torch.allclose(direction, norm, atol=1e-4)
    assert not attacks.UnitRMS().direction(torch.zeros(1, 3, 4, 4), {})[0].any()


def test_a_batch_is_its_images_one_by_one(classifier: uf.Classifier) -> None:
    images = smooth_images(11, seed=2)
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, QUICK)
    attack = replace(quick_attack(system), early_stop=attacks.EarlyStop(after=0.2, patience=0.1, tolerance=0.5))
    whole = attack(system, images, labels, control=False, noise_draws=1)
    assert len(whole.steps.unique()) > 1, "some images are to leave before others"
    for size in (1, 7):
        again = attack(system, images, labels, batch_size=size, control=False, noise_draws=1)
        assert torch.equal(whole.adversarial, again.adversarial), size
        for name in ("success", "steps", "best_step", "forwards", "backwards", "confidence"):
            assert torch.equal(getattr(whole, name), getattr(again, name)), (size, name)
        assert torch.equal(whole.map_l1["mask"], again.map_l1["mask"])
    alone = attack(system, images[4:5], labels[4:5], control=False, noise_draws=1)
    assert torch.equal(alone.adversarial[0], whole.adversarial[4])


def test_the_counts_are_what_the_network_saw(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, QUICK)
    view, calls = system.view(), [0]

    def forward(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        calls[0] += 1

    attack, benign = quick_attack(system, (5, 8)), read_benign(system, images, labels)
    run_alone(attack, view, benign)
    view.prepared.module.head.register_forward_hook(forward)
    for every in (None, 2):  # what only the trace wants is not counted
        calls[0] = 0
        _, outcome = run_alone(attack, view, benign, trace_every=every)
        # warm-up; the guard's start; each joint step: move, 8 steps of the mask, 10 halvings; solutions
        # before joint steps 0 and 6 and at the end, each with a look to rank the image
        counted = 5 + 1 + 8 * (1 + 8 + 10) + 3 * (12 + 1)
        assert outcome.forwards.tolist() == [counted] * 6
        assert outcome.backwards.tolist() == [5 + 8 * (1 + 8 + 4) + 3 * 12] * 6
        probe = 1 + 8
        assert calls[0] - counted - probe == (0 if every is None else 4)


def test_iterates_are_ranked_by_fresh_solutions_of_eight_bit_images(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    """The kept image is one that was on the 8-bit grid when it was solved, and what ranked it is the honest map."""
    system = uf.System(classifier, QUICK)
    attack, view, benign = quick_attack(system), system.view(), read_benign(system, images, labels)
    aim, outcome = run_alone(attack, view, benign)
    classes = aim.classes
    found = outcome.best_step >= 0
    assert bool(found.any())
    assert {int(step) for step in outcome.best_step[found]} <= {6, 12, 18, 21}
    assert torch.equal(outcome.images, attack.perturbation.levels(benign.images, outcome.images))
    # What ranked the kept image is its honest map, and not the one that the view had drifted to.
    loop = Loop(attack, view, benign.images, Aim(attack.goal, classes, benign.maps, True), benign.ids, seed=0)
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    rank = loop._rank

    def watched(point: Point, image: Tensor, step: int) -> None:
        rank(point, image, step)
        best = loop.run_state.best
        for row, place in enumerate(loop.run_state.row.tolist()):
            if place >= 0 and int(best["level"][row]) > 0:
                kept[place] = best["image"][row].clone(), best["value"][row].clone()

    loop._rank = watched
    loop()
    assert len(kept) == int(found.sum())
    for place, (image, value) in kept.items():
        one = slice(place, place + 1)
        honest = QUICK.maps(classifier, image.unsqueeze(0), classes[one], ids=benign.ids[one])
        assert float((honest - benign.maps["mask"][one]).abs().mean()) == pytest.approx(float(value), abs=1e-3)


def test_nobody_leaves_before_a_fresh_look(classifier: uf.Classifier) -> None:
    """Images are judged at every sixth step; patience of two steps must not send them away in between."""
    images = smooth_images(11, seed=2)
    system = uf.System(classifier, QUICK)
    attack = replace(
        quick_attack(system, (6, 30)), early_stop=attacks.EarlyStop(after=0.2, patience=0.05, tolerance=0.0)
    )
    benign = read_benign(system, images, classifier.logits(images).argmax(1))
    _, outcome = run_alone(attack, system.view(), benign, batch_size=16)
    early = outcome.steps < 36
    assert bool(early.any())
    # Who leaves after a success at one look has been through the next one, which brought nothing.
    assert bool((outcome.steps[early] > outcome.best_step[early] + 6).all())


def test_untargeted_attacks_solve_for_the_strongest_other_class(classifier: uf.Classifier, images: Tensor) -> None:
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, QUICK)
    result = attacks.preset("adv2", eps=EPS, steps=(10, 6), targeted=False)(system, images, labels)
    assert float(result.success.float().mean()) > 0.4
    ids = read_benign(system, images, labels).ids
    verdict = classifier.logits(result.adversarial)
    explained = verdict.scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1)
    assert torch.equal(result.maps["mask"], QUICK.maps(classifier, result.adversarial, explained, ids=ids))


def test_with_another_interpreter(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, [QUICK, uf.interpreters.Grad()])
    result = attacks.preset("adv2", eps=EPS, steps=(5, 8))(system, images, labels, batch_size=4)
    assert set(result.map_l1) == {"mask", "grad"}
    assert bool(torch.isfinite(result.map_l1["mask"]).all())


def test_nothing_changes_when_the_network_fails_in_the_middle(
    classifier: uf.Classifier, images: Tensor, labels: Tensor
) -> None:
    system, calls = uf.System(classifier, QUICK), [0]
    module = classifier.module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    view = system.view()

    def broken(_module: nn.Module, _inputs: object, _output: Tensor) -> None:
        calls[0] += 1
        if calls[0] > 60:
            raise RuntimeError("injected")

    view.prepared.module.head.register_forward_hook(broken)
    benign = read_benign(system, images, labels)
    with pytest.raises(ClassifierError, match="injected"):
        run_alone(quick_attack(system), view, benign)
    assert calls[0] > 60
    assert all(part.training for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.is_grad_enabled()
    assert torch.overrides._get_current_function_mode() is None


def test_cifar10_images_keep_their_maps(cifar10: uf.data.ImageData) -> None:
    """Few images, few steps, short solutions: the joint attack changes the class too, and moves the map far less."""
    classifier = uf.classifiers.load("cifar10-resnet20")
    batch = cifar10.load(classifier.image_size, classifier.channels, range(4))
    right = classifier.logits(batch.images).argmax(1) == batch.labels
    images, labels = batch.images[right][:3], batch.labels[right][:3]
    system = uf.System(classifier, MASK(iterations=12, refresh_every=7))
    joint = attacks.preset("adv2", eps=8 / 255, steps=(8, 14))
    found, alone = (each(system, images, labels, control=False, noise_draws=1) for each in (joint, joint.control()))
    assert float(found.success.float().mean()) >= 0.85
    assert float(found.map_l1["mask"].mean()) < 0.8 * float(alone.map_l1["mask"].mean())


@pytest.mark.parametrize(("budget", "own", "times"), [(40, 50, 8), (40, 3, 14), (4, 50, 4)])
def test_auto_solves_the_mask_afresh_at_least_eight_times(
    classifier: uf.Classifier,
    images: Tensor,
    labels: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    budget: int,
    own: int,
    times: int,
) -> None:
    """Once more after the last step, and as often as MASK itself asks for it if that is more often."""
    calls, refresh = [0], MaskView.refresh

    def counted(*given: Any) -> Any:
        calls[0] += 1
        return refresh(*given)

    monkeypatch.setattr(MaskView, "refresh", counted)
    system = uf.System(classifier, MASK(iterations=3, refresh_every=own))
    attack = attacks.preset("auto", eps=EPS, budget=budget).build(system)
    run_alone(attack, system.view(), read_benign(system, images, labels))
    assert calls[0] == times + 1


class Blind(attacks.Ranking):
    """A ranking to which no honest reading is a success."""

    def update(self, best: dict[str, Tensor], *_given: object) -> dict[str, Tensor]:
        return best


def test_auto_keeps_a_success_between_two_solutions(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, MASK(iterations=3))
    attack = replace(attacks.preset("auto", eps=EPS, budget=24).build(system), ranking=Blind())
    aim, outcome = run_alone(attack, system.view(), read_benign(system, images, labels))
    met = classifier.logits(outcome.images).argmax(1) == aim.classes
    assert int(met.sum()) > 0
    assert torch.equal(outcome.level > 0, met)
    assert bool((outcome.best_step[met] >= 0).all())
    assert bool(outcome.value.isinf().all())


def test_a_success_with_an_honest_map_takes_the_place_of_one_without() -> None:
    ranking, images = attacks.Ranking(), smooth_images(3)
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # the goal is class 0
    point = point_of({"mask": torch.zeros(3, 1, 4, 4)}, {"mask": torch.full((3, 4, 4), 0.5)}, logits)
    best = ranking.reach(ranking.start(images), point, images + 1, 5)
    assert (best["level"].tolist(), best["step"].tolist()) == ([1, 1, 0], [5, 5, -1])
    assert torch.equal(best["image"], torch.cat([images[:2] + 1, images[2:]]))
    best = ranking.update(best, point, images + 2, 6)
    assert (best["value"].tolist(), best["step"].tolist()) == ([0.5, 0.5, math.inf], [6, 6, -1])
    assert torch.equal(ranking.reach(best, point, images + 3, 7)["image"], best["image"])


def test_an_iterate_with_a_map_of_nan_gives_way_to_the_next() -> None:
    """Regression: nothing is below NaN, so that the first success stayed if its map was NaN."""
    ranking, images = attacks.Ranking(), smooth_images(1)
    logits, wanted = torch.tensor([[1.0, 0.0]]), {"mask": torch.full((1, 4, 4), 0.5)}
    nan, near = (point_of({"mask": torch.full((1, 1, 4, 4), value)}, wanted, logits) for value in (torch.nan, 0.4))
    best = ranking.update(ranking.start(images), nan, images, 0)
    assert (best["level"].tolist(), best["value"].tolist()) == ([1], [math.inf])
    best = ranking.update(best, near, images, 1)
    assert best["step"].tolist() == [1]
    assert best["value"].item() == pytest.approx(0.1)


def test_no_image_rests_before_an_honest_reading() -> None:
    """A success between two solutions is no reason to leave: the next solution may be the first honest one."""
    images, stop = smooth_images(1), attacks.EarlyStop(after=0.0, patience=0.1)
    logits = torch.tensor([[1.0, 0.0]])
    point = point_of({"mask": torch.zeros(1, 1, 4, 4)}, {"mask": torch.full((1, 4, 4), 0.5)}, logits)
    ranking, idle = attacks.Ranking(), torch.tensor([90])
    reached = ranking.reach(ranking.start(images), point, images, 5)
    assert stop.finished(reached, 95, 100, idle, 1).tolist() == [False]
    assert stop.finished(ranking.update(reached, point, images, 5), 95, 100, idle, 1).tolist() == [True]
