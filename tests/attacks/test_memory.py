"""Nothing of an attack stays behind: double backward passes like to leave cycles that hold their graphs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pytest
import torch

import underfire as uf
from tests.conftest import smooth_images, tiny_network


@pytest.fixture(autouse=True)
def only_new_objects() -> Iterator[None]:
    """Freeze the objects from before the test, such as all that torch has imported, so that they are not counted."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def living_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


QUICK_MASK = uf.interpreters.MASK(iterations=2)


@pytest.mark.parametrize("interpreter", ["cam", "gradcam", "grad", "lrp", QUICK_MASK], ids=str)
def test_consecutive_attacks_leave_no_tensors(interpreter: uf.interpreters.Interpreter | str) -> None:
    system = uf.System(uf.Classifier(tiny_network()), interpreter)
    images = smooth_images(8)
    labels = system.classifier.logits(images).argmax(1)
    attack = uf.attacks.preset("adv2", eps=8 / 255, steps=(2, 3))
    counts = []
    for _ in range(5):
        attack(system, images, labels)
        counts.append(living_tensors())
    assert counts[1:] == [counts[1]] * 4


@pytest.mark.parametrize("memory", ["fast", "small"])
def test_unrolled_steps_do_not_pile_up(memory: Literal["fast", "small"]) -> None:
    """MASK's view differentiates through its mask's steps: each joint step must let go of the graphs before it."""
    system = uf.System(uf.Classifier(tiny_network()), replace(QUICK_MASK, view_memory=memory))
    images = smooth_images(8)
    labels = system.classifier.logits(images).argmax(1)
    attack = replace(uf.attacks.preset("adv2", eps=8 / 255, steps=(1, 8)).build(system), early_stop=None)
    counts: list[int] = []
    attack(system, images, labels, progress=lambda _step, _total: counts.append(living_tensors()))
    assert len(counts) == 9
    assert counts[3:] == [counts[3]] * 6


def test_a_masker_leaves_no_tensors() -> None:
    classifier = uf.classifiers.load("cifar10-resnet20")
    system = uf.System(classifier, uf.interpreters.RTS())
    images = smooth_images(8, 32)
    labels = classifier.logits(images).argmax(1)
    counts = []
    for _ in range(4):
        uf.attacks.preset("adv2", eps=8 / 255, steps=(1, 2))(system, images, labels)
        counts.append(living_tensors())
    assert counts[1:] == [counts[1]] * 3


def test_results_carry_no_graph() -> None:
    system = uf.System(uf.Classifier(tiny_network()), uf.interpreters.Grad())
    images = smooth_images(4)
    result = uf.attacks.preset("adv2", eps=8 / 255, steps=(2, 3))(system, images, torch.zeros(4, dtype=torch.int64))
    tensors = [value for value in vars(result).values() if isinstance(value, torch.Tensor)]
    tensors += [part for value in vars(result).values() if isinstance(value, dict) for part in value.values()]
    assert not any(part.requires_grad for part in tensors if isinstance(part, torch.Tensor))
