"""MASK's view: its unrolled gradient against finite differences, its passes and memory, and its state."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from tests.interpreters.test_mask import bilinear, gaussian
from underfire import randomness
from underfire.classifiers import Later, Prepared, Recorded
from underfire.interpreters import MASK, State
from underfire.interpreters.base import View
from underfire.interpreters.mask_settings import Settings

CLASSES = torch.tensor([0, 2, 3])
IDS = torch.tensor([11, 12, 13])


def unused(*_: object) -> Recorded:
    raise AssertionError("MASK makes its own passes; it never looks at the shared one")


def begun(interpreter: MASK, images: Tensor, precision: str = "float64") -> tuple[View, Prepared, State]:
    view = interpreter.view()
    prepared = uf.Classifier(tiny_network(), mean=(0.5, 0.4, 0.6), std=(0.2, 0.3, 0.25)).prepare(precision)
    state = view.refresh(prepared, images, CLASSES, view.begin(prepared, images, CLASSES, IDS))
    return view, prepared, state


def read(view: View, prepared: Prepared, images: Tensor, state: State) -> tuple[Tensor, State]:
    return view.read(prepared, Later(unused), images, CLASSES, state, graph=True)


@pytest.mark.parametrize("memory", ["fast", "small"])
@pytest.mark.parametrize("used", [False, True], ids=["fresh moments", "used moments"])
def test_the_unrolled_gradient_passes_finite_differences(memory: Any, used: bool) -> None:
    """d(weighted sum of all looks)/dx in float64, along random directions. There are no free steps here, because they
    follow the image without a graph."""
    torch.manual_seed(0)
    interpreter = MASK(iterations=3, free_steps=0, view_memory=memory)
    images = smooth_images(3).double()
    view, prepared, state = begun(interpreter, images)
    if used:
        state = read(view, prepared, images.clone().requires_grad_(), state)[1]
    x = images.clone().requires_grad_()
    looks, after = read(view, prepared, x, state)
    here = interpreter.settings(16, 16)
    assert looks.shape == (3, 4, here.rows, here.columns)
    assert not any(value.requires_grad for value in after.values())
    weights = torch.randn_like(looks)
    (gradient,) = torch.autograd.grad((weights * looks).sum(), x)
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())
    for _ in range(4):
        direction = torch.randn_like(images)
        ends = [
            read(view, prepared, (images + sign * 1e-7 * direction).requires_grad_(), state)[0].detach()
            for sign in (1, -1)
        ]
        numeric = float((weights * (ends[0] - ends[1])).sum()) / 2e-7
        assert numeric == pytest.approx(float((gradient * direction).sum()), rel=1e-3, abs=1e-6)


def test_both_settings_of_memory_give_the_same_values() -> None:
    images = smooth_images(3).double()
    found = []
    for memory in ("fast", "small"):
        interpreter = MASK(iterations=10, view_memory=memory)
        view, prepared, state = begun(interpreter, images)
        x = images.clone().requires_grad_()
        looks, after = read(view, prepared, x, state)
        found.append((looks.detach(), torch.autograd.grad(looks.square().sum(), x)[0], after))
    (looks, gradient, after), (others, other_gradient, other_after) = found
    assert torch.allclose(looks, others, atol=1e-12)
    assert torch.allclose(gradient, other_gradient, atol=1e-12)
    for name, value in after.items():
        assert torch.allclose(value.double(), other_after[name].double(), atol=1e-12), name


class Kept:
    """A tensor that autograd saved; it lives as long as the graph."""

    def __init__(self, value: Tensor) -> None:
        self.value = value


def test_small_memory_keeps_less() -> None:
    """Counts the bytes that autograd holds between the reading and the backward pass."""
    images, kept = smooth_images(3), {}
    for memory in ("fast", "small"):
        view, prepared, state = begun(MASK(iterations=2, view_memory=memory), images, "float32")
        held: weakref.WeakSet[Kept] = weakref.WeakSet()

        def keep(value: Tensor, held: weakref.WeakSet[Kept] = held) -> Kept:
            held.add(kept := Kept(value))
            return kept

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.value):
            looks, _ = read(view, prepared, images.clone().requires_grad_(), state)
        gc.collect()
        storages = {one.value.untyped_storage().data_ptr(): one.value.untyped_storage().nbytes() for one in held}
        kept[memory] = sum(storages.values())
        assert looks.requires_grad  # the graph is still there
    assert 0 < kept["small"] < 0.5 * kept["fast"]


def test_the_passes_are_counted() -> None:
    """A free step takes 1 forward and 1 backward pass, an unrolled step one more backward pass of second order.
    ``small`` makes each unrolled step twice."""
    images = smooth_images(3)
    for memory, forwards, backwards in (("fast", 7, 11), ("small", 11, 15)):
        interpreter = MASK(iterations=2, free_steps=3, view_memory=memory)
        view, prepared, state = begun(interpreter, images, "float32")
        prepared.forwards = prepared.backwards = 0
        x = images.clone().requires_grad_()
        looks, _ = read(view, prepared, x, state)
        torch.autograd.grad(looks.sum(), x)
        assert (prepared.forwards, prepared.backwards) == (forwards, backwards)
        prepared.forwards = prepared.backwards = 0
        view.refresh(prepared, images, CLASSES, state)
        assert (prepared.forwards, prepared.backwards) == (2, 2)
        assert view.refresh_passes == 2


def test_a_fresh_solution_is_the_honest_map(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    interpreter, ids = MASK(iterations=25), torch.arange(len(images))
    view = uf.System(classifier, interpreter).view()
    begin = view.begin(images, labels, ids)
    states = view.refresh(images, lambda _: labels, begin)
    reading, after = view.read(images, lambda _: labels, states, graph=False)
    honest = interpreter.maps(classifier, images, labels, ids=ids)
    assert torch.allclose(reading.maps["mask"], honest, atol=1e-3)
    assert after == states, "a look without a graph leaves the state as it is"
    state = states["mask"]
    assert state["count"].tolist() == [100.0] * len(images)
    moved = view.read(images.clone().requires_grad_(), lambda _: labels, states, graph=True)[1]["mask"]
    assert moved["taken"].tolist() == [8] * len(images)
    again = view.refresh(images, lambda _: labels, {"mask": moved})["mask"]
    assert torch.equal(again["first"], 0.5 * moved["first"])
    assert torch.equal(again["second"], 0.25 * moved["second"])
    assert torch.equal(again["mask"], state["mask"])


def test_every_step_draws_its_own_jitter(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    """If only the number of steps differs, the crops and so the masks differ."""
    view = uf.System(classifier, MASK(iterations=5, jitter=4)).view()
    ids = torch.arange(len(images))
    states = view.refresh(images, lambda _: labels, view.begin(images, labels, ids))
    looks = []
    for taken in (0, 8, 8):
        state = {"mask": {**states["mask"], "taken": torch.full_like(ids, taken)}}
        looks.append(view.read(images.clone().requires_grad_(), lambda _: labels, state, graph=True)[0].maps["mask"])
    assert not torch.equal(looks[0], looks[1])
    assert torch.equal(looks[1], looks[2])


def test_the_shared_pass_is_made_only_if_it_is_read(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    view = uf.System(classifier, MASK(iterations=2)).view()
    states = view.begin(images, labels, torch.arange(len(images)))
    view.prepared.forwards = 0
    reading, _ = view.read(images.clone().requires_grad_(), lambda _: labels, states, graph=True)
    assert view.prepared.forwards == 8
    assert reading.logits.requires_grad
    assert reading.recorded.logits is reading.logits
    assert view.prepared.forwards == 9


def test_the_view_with_another_interpreter_shares_what_it_can(classifier: uf.Classifier, images: Tensor) -> None:
    labels = classifier.logits(images).argmax(1)
    view = uf.System(classifier, [MASK(iterations=2), uf.interpreters.CAM()]).view()
    states = view.begin(images, labels, torch.arange(len(images)))
    view.prepared.forwards = view.prepared.backwards = 0
    reading, _ = view.read(images.clone().requires_grad_(), lambda _: labels, states, graph=True)
    # MASK: 8 steps, 4 of which are differentiated; CAM: the shared pass, there and back.
    assert (view.prepared.forwards, view.prepared.backwards) == (8 + 1, 8 + 4 + 1)
    assert {name: looks.shape[1] for name, looks in reading.looks.items()} == {"mask": 4, "cam": 1}
    cam = uf.interpreters.CAM().maps(classifier, images, labels)
    assert torch.allclose(reading.maps["cam"], cam, atol=1e-4)


def test_a_number_of_steps_is_a_parameter() -> None:
    images = smooth_images(3)
    view, prepared, state = begun(replace(MASK(iterations=2), unrolled_steps=2), images, "float32")
    looks, after = read(view, prepared, images.clone().requires_grad_(), state)
    assert looks.shape[1] == 2
    assert torch.equal(1 - looks[:, -1], after["mask"])


class Follower:
    """The mask of one image after ADV2's algorithm 1, step by step, with Adam written out and plain autograd."""

    def __init__(self, prepared: Prepared, here: Settings, c: int, mask: Tensor) -> None:
        self.prepared, self.here, self.c, self.m = prepared, here, c, mask
        # The moments are 0 at first; a fresh solution halves and quarters them, and sets the counter to 100.
        self.first, self.second, self.count = torch.zeros_like(mask), torch.zeros_like(mask), 100

    def step(self, image: Tensor, corner: list[int]) -> None:
        """Make one step; ``image`` is C x H x W, with or without a graph, and ``corner`` that of the crop."""
        here, (height, width) = self.here, image.shape[1:]
        large = torch.stack([bilinear(plane, (height + here.jitter, width + here.jitter)) for plane in image])
        blurred = torch.stack([gaussian(plane, here.blur, here.sigma) for plane in large])
        crop = (slice(None), slice(corner[0], corner[0] + height), slice(corner[1], corner[1] + width))
        up = gaussian(bilinear(self.m, (height, width)), here.mask_blur, here.mask_sigma)
        chosen = self.prepared.run((large[crop] * up + blurred[crop] * (1 - up)).unsqueeze(0)).softmax(1)[0, self.c]
        across, down = self.m[:-1, 1:] - self.m[:-1, :-1], self.m[1:, :-1] - self.m[:-1, :-1]
        rough = ((across**2 + down**2 + 1e-8) ** (here.power / 2)).sum()
        loss = chosen + here.l1 * (1 - self.m).abs().sum() + here.tv * rough
        (slope,) = torch.autograd.grad(loss, self.m, create_graph=True)
        self.count += 1
        self.first = 0.9 * self.first + 0.1 * slope
        self.second = 0.999 * self.second + 0.001 * slope**2
        fast, slow = self.first / (1 - 0.9**self.count), self.second / (1 - 0.999**self.count)
        self.m = (self.m - here.learning_rate * fast / (slow.sqrt() + 1e-8)).clamp(0, 1)

    def let_go(self) -> None:
        self.m = self.m.detach().requires_grad_()
        self.first, self.second = self.first.detach(), self.second.detach()


def test_two_looks_against_a_slow_replica() -> None:
    """Two steps of an attack on the map: free steps, then differentiated ones, moments carried on; the looks, and the
    gradient of their mean squared distance to a target."""
    interpreter = MASK(iterations=3, learning_rate=0.01, free_steps=3, unrolled_steps=2)
    images, target = smooth_images(3).double(), 0.3
    view, prepared, state = begun(interpreter, images)
    here = interpreter.settings(16, 16)
    moved = [images, (images + 0.03 * torch.randn(images.shape, dtype=torch.float64)).clamp(0, 1)]
    found = []
    fresh = state["mask"]
    for each in moved:
        x = each.clone().requires_grad_()
        looks, state = read(view, prepared, x, state)
        gradient = torch.autograd.grad((looks - target).square().mean((1, 2, 3)).sum(), x)[0]
        found.append((looks.detach(), gradient))
    corners = [randomness.integers(0, IDS, "mask follow", torch.full_like(IDS, taken), (5, 2), 2) for taken in (0, 5)]
    for row in range(3):
        slow = Follower(prepared, here, int(CLASSES[row]), fresh[row].clone().requires_grad_())
        for time, each in enumerate(moved):
            x, masks = each[row].clone().requires_grad_(), []
            for index in range(5):
                if index <= 3:
                    slow.let_go()
                free = index < 3
                slow.step(x.detach() if free else x, corners[time][row, index].tolist())
                if not free:
                    masks.append(1 - slow.m)
            looks, gradient = found[time][0][row], found[time][1][row]
            assert torch.allclose(looks, torch.stack(masks).detach(), atol=1e-9)
            expected = torch.autograd.grad((torch.stack(masks) - target).square().mean(), x)[0]
            assert float(expected.abs().max()) > 0
            assert torch.allclose(gradient, expected, rtol=1e-6, atol=1e-9 * float(expected.abs().max()))
