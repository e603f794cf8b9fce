"""A toy interpreter with inner state and a toy Adam perturbation keep the loop's contracts honest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire import attacks
from underfire.attacks.goal import Goal
from underfire.attacks.perturbations import Perturbation, Theta
from underfire.attacks.rules import per_image
from underfire.classifiers import Classifier, Prepared, Recorded
from underfire.interpreters import Interpreter, State, View


@dataclass(frozen=True)
class Memory(Interpreter):
    """A map that follows the image's brightness slowly: its view carries a moving average and a step counter."""

    name: ClassVar[str] = "memory"
    family: ClassVar[str] = "cam"

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return images.mean(1)

    def view(self) -> View:
        return _MemoryView()


class _MemoryView(View):
    refresh_every = 3

    def begin(self, prepared: Prepared, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        return {
            "average": images.mean(1),
            "ids": ids.clone(),
            "reads": torch.zeros(len(images)),
            "refreshes": torch.zeros(len(images)),
        }

    def read(
        self,
        prepared: Prepared,
        recorded: Recorded,
        images: Tensor,
        classes: Tensor,
        state: State,
        graph: bool,
    ) -> tuple[Tensor, State]:
        maps = 0.5 * state["average"] + 0.5 * images.mean(1)
        return maps, state | {"average": maps.detach(), "reads": state["reads"] + 1}

    def refresh(self, prepared: Prepared, images: Tensor, classes: Tensor, state: State) -> State:
        return state | {"average": images.mean(1), "refreshes": state["refreshes"] + 1}

    def terms(self, recorded: Recorded, classes: Tensor, state: State) -> dict[str, Tensor]:
        return {"presence": recorded.logits.square().mean(1) * 1e-3}


@dataclass(frozen=True)
class Additive(Perturbation):
    """image = clip(benign + W * delta) with a free delta: moved by Adam, with an L2 penalty."""

    name: ClassVar[str] = "additive"

    def start(self, images: Tensor, weights: Tensor, ids: Tensor, seed: int) -> Theta:
        return {"benign": images, "weights": weights, "delta": torch.zeros_like(images)}

    def variable(self, theta: Theta) -> Tensor:
        return theta["delta"]

    def image(self, theta: Theta, variable: Tensor) -> Tensor:
        return (theta["benign"] + theta["weights"] * variable).clamp(0, 1)

    def move(self, theta: Theta, direction: Tensor, size: Tensor) -> Theta:
        return theta | {"delta": theta["delta"] + per_image(size, direction) * direction}

    def penalty(self, theta: Theta, variable: Tensor, image: Tensor) -> Tensor:
        return (image - theta["benign"]).square().flatten(1).sum(1)

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        return adversarial.mul(255).round().div(255)


def toy_attack(early_stop: attacks.EarlyStop | None = None, guard: attacks.MarginGuard | None = None) -> attacks.Attack:
    weighted, constant = attacks.Weighted, attacks.Constant
    return attacks.Attack(
        name="toy",
        perturbation=Additive(),
        stages=(
            attacks.Stage(
                "warm-up",
                15,
                (attacks.Move((weighted(attacks.Prediction()),), constant(0.02), attacks.Adam()),),
            ),
            attacks.Stage(
                "joint",
                20,
                (
                    attacks.Move((weighted(attacks.Prediction()),), constant(0.01), attacks.Adam()),
                    attacks.Move(
                        (
                            weighted(attacks.Interpretation("sum"), attacks.Linear(0.1, 1.0)),
                            weighted(attacks.Presence()),
                            weighted(attacks.Penalty(), constant(0.1)),
                        ),
                        constant(0.5),
                        attacks.UnitL2(),
                        guard,
                    ),
                ),
            ),
        ),
        early_stop=early_stop,
    )


@pytest.fixture
def system(classifier: uf.Classifier) -> uf.System:
    return uf.System(classifier, Memory())


def test_state_follows_its_image_through_compaction(system: uf.System) -> None:
    images = smooth_images(21, seed=4)
    labels = system.classifier.logits(images).argmax(1)
    attack = toy_attack(attacks.EarlyStop(after=0.2, patience=0.1, tolerance=0.2), attacks.MarginGuard())
    whole = attack(system, images, labels)
    assert len(whole.steps.unique()) > 1
    for index in (0, 7, 20):
        alone = attack(system, images[index : index + 1], labels[index : index + 1])
        assert torch.equal(alone.adversarial[0], whole.adversarial[index])
        assert int(alone.steps[0]) == int(whole.steps[index])


def test_leaving_early_does_not_change_who_stays(system: uf.System) -> None:
    images = smooth_images(16, seed=4)
    labels = system.classifier.logits(images).argmax(1)
    stopping = toy_attack(attacks.EarlyStop(after=0.2, patience=0.1, tolerance=0.2))
    with_stop, without = stopping(system, images, labels), toy_attack()(system, images, labels)
    stayed = with_stop.steps == without.steps
    assert 0 < int(stayed.sum()) < 16
    assert torch.equal(with_stop.adversarial[stayed], without.adversarial[stayed])


def test_views_are_read_refreshed_and_given_their_own_rows(system: uf.System) -> None:
    from underfire.attacks.loop import Loop

    images = smooth_images(5)
    benign = attacks.benign.read_benign(system, images, system.classifier.logits(images).argmax(1))
    attack = toy_attack()
    view = system.view()
    aim = attack.aim(view, benign, 0)
    loop = Loop(attack, view, benign.images, aim, benign.ids, seed=0)
    loop()
    state = loop.run_state.views["memory"]
    assert state["ids"].tolist() == [*benign.ids.tolist(), *[int(benign.ids[0])] * 3]
    assert state["reads"].tolist() == [20.0] * 8
    assert state["refreshes"].tolist() == [7 + 1] * 8, "before every third step from the first, and at the end"


@dataclass(frozen=True)
class RecordingGuard(attacks.MarginGuard):
    """A margin guard that keeps what it decided."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", [])

    def holds(self, logits: Tensor, classes: Tensor, goal: Goal, state: dict[str, Tensor]) -> Tensor:
        held = super().holds(logits, classes, goal, state)
        self.seen.append((logits, state["bound"], held))
        return held


def test_a_guard_finds_the_largest_step_for_each_image(system: uf.System) -> None:
    """Every move of the guarded kind either goes the whole way, or stops where the margin meets its bound."""
    from underfire.attacks.loop import Loop

    images = smooth_images(8, seed=1)
    benign = attacks.benign.read_benign(system, images, system.classifier.logits(images).argmax(1))
    guard = RecordingGuard(limit=0.5, iterations=14)
    attack = toy_attack(guard=guard)
    view = system.view()
    aim = attack.aim(view, benign, 0)
    loop = Loop(attack, view, benign.images, aim, benign.ids, seed=0)
    largest, bounds = loop._largest, []

    def watched(move: attacks.Move, index: str, direction: Tensor, size: Tensor) -> Tensor:
        chosen = largest(move, index, direction, size)
        with torch.no_grad():
            for factor in (1.0, 1.01):
                theta = attack.perturbation.move(loop.run_state.theta, direction, chosen * factor)
                logits = loop.view.logits(attack.perturbation.image(theta, theta["delta"]))
                held = attacks.MarginGuard.holds(guard, logits, aim.classes, attack.goal, loop.run_state.guards[index])
                bounds.append((factor, chosen / size, held))
        return chosen

    loop._largest = watched
    loop()
    for (_, share, at_chosen), (_, _, beyond) in zip(bounds[::2], bounds[1::2], strict=True):
        assert bool((at_chosen | (share == 0)).all())
        assert not bool((beyond & (share > 0.02) & (share < 1)).any())
    shares = torch.stack([share for factor, share, _ in bounds if factor == 1.0])
    assert float(((shares > 0) & (shares < 1)).float().mean()) > 0
    assert len(guard.seen) == 20 * 14, "one forward per halving, for all images at once"


def test_the_toys_are_what_they_say(system: uf.System) -> None:
    """The joint attack with an Adam perturbation reaches its class and comes nearer to the benign map than without."""
    images = smooth_images(12, seed=6)
    labels = system.classifier.logits(images).argmax(1)
    joint = toy_attack()(system, images, labels)
    stages = joint_free = toy_attack().stages[:1]
    only = replace(toy_attack(), stages=stages, ranking=attacks.Ranking("prediction"))(system, images, labels)
    assert joint_free[0].name == "warm-up"
    both = joint.success & only.success
    assert int(both.sum()) >= 6
    assert float(joint.map_l1["memory"][both].mean()) < float(only.map_l1["memory"][both].mean())


def test_several_interpreters_share_one_pass_where_they_can(classifier: uf.Classifier) -> None:
    view = uf.System(classifier, [uf.interpreters.CAM(), uf.interpreters.GradCAM(), Memory()]).view()
    images = smooth_images(8).requires_grad_()
    classes = torch.zeros(8, dtype=torch.int64)
    states = view.begin(images, classes, classes)
    view.read(images, lambda _: classes, states, graph=True)
    assert view.prepared.forwards == 1


@pytest.mark.parametrize(
    ("name", "own"),
    [
        *(("cam", 0), ("gradcam", 0), ("gradcam++", 0), ("layercam", 0)),  # all is in the pass for the logits
        *(("lrp", 1), ("lrp:z+", 1), ("captum:Saliency", 1)),
    ],
)
def test_passes_are_counted(classifier: uf.Classifier, name: str, own: int) -> None:
    """The logits' pass and the interpreter's own; back once for each own one, and for all when differentiated."""
    if name.startswith("captum"):
        pytest.importorskip("captum")
    images = smooth_images(4).requires_grad_()
    classes = torch.tensor([0, 1, 2, 3])
    view = uf.System(classifier, name).view()
    states = view.begin(images, classes, classes)
    view.read(images, lambda _: classes, states, graph=True)[0].logits.sum()  # what looks at it first, looks closer
    for graph in (False, True):
        view.prepared.forwards = view.prepared.backwards = 0
        view.read(images, lambda _: classes, states, graph=graph)[0].logits.sum()
        assert view.prepared.forwards == 1 + own
        assert view.prepared.backwards == own + graph * (1 + own)


@pytest.mark.parametrize("name", ["smoothgrad", "ig"])
def test_passes_of_averaged_gradients_are_counted(classifier: uf.Classifier, name: str) -> None:
    """Each of the 16 samples is computed once for the map, and once more, with its graph, to differentiate the map."""
    images = smooth_images(4).requires_grad_()
    classes = torch.tensor([0, 1, 2, 3])
    view = uf.System(classifier, name).view()
    states = view.begin(images, classes, classes)
    for graph in (False, True):
        view.prepared.forwards = view.prepared.backwards = 0
        reading, _ = view.read(images, lambda _: classes, states, graph=graph)
        loss = reading.logits.sum()
        assert (view.prepared.forwards, view.prepared.backwards) == (1 + 16, 16 + graph)
        if graph:
            torch.autograd.grad(loss + reading.maps[name].square().sum(), images)
            assert (view.prepared.forwards, view.prepared.backwards) == (1 + 16 + 16, 16 + 1 + 16 * 2)
