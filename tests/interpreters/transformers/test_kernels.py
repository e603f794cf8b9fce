"""Attention takes the fused kernel wherever no second derivative is needed, and that saves memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.interpreters.transformers.architectures import CASES
from underfire import attacks
from underfire.memory import counting
from underfire.system import SystemView
from underfire.zoo.vit import VisionTransformer

CLASSES = torch.tensor([1, 2])
FUSED = "ScaledDotProduct"


def operations(node: Any) -> set[str]:
    """The names of all operations in a graph."""
    names, waiting, seen = set[str](), [node], set[Any]()
    while waiting:
        current = waiting.pop()
        if current is None or current in seen:
            continue
        seen.add(current)
        names.add(current.name())
        waiting += [inner for inner, _ in current.next_functions]
    return names


def view_of(name: str, interpreter: str) -> tuple[SystemView, Tensor]:
    case = CASES[name]
    images = torch.rand(2, 3, *case.size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    return uf.System(case.classifier(), interpreter).view(), images


@pytest.mark.parametrize(
    ("interpreter", "fused"),
    [("cam", True), ("gradcam", False), ("grad", False), ("rollout", False), ("chefer", False)],
)
def test_the_kernel_of_a_joint_step(interpreter: str, fused: bool) -> None:
    view, images = view_of("timm-vit-mean", interpreter)
    reading, _ = view.read(images, lambda _: CLASSES, {interpreter: {}}, graph=True)
    assert any(FUSED in name for name in operations(reading.logits.grad_fn)) == fused
    reading.maps[interpreter].sum().backward()
    assert images.grad is not None


def test_a_step_on_the_prediction_alone_takes_the_fused_kernel() -> None:
    view, images = view_of("timm-vit", "grad")
    logits = view.look(images, graph=True).logits
    assert any(FUSED in name for name in operations(logits.grad_fn))
    twice = view.prepared.run(images)
    assert not any(FUSED in name for name in operations(twice.grad_fn))
    assert torch.allclose(logits, twice, atol=1e-5)


def test_the_fused_kernel_keeps_less_memory() -> None:
    """It never holds the matrices of attention, which are most of what a pass keeps if there are many tokens."""
    torch.manual_seed(0)
    network = VisionTransformer((64, 64), stride=4, blocks=0, width=16, depth=2, heads=4)
    prepared = uf.Classifier(network.eval(), image_size=64).prepare()
    images = torch.rand(2, 3, 64, 64).requires_grad_()
    weights = tuple(prepared.module.parameters())

    def kept(twice: bool) -> int:
        with counting(weights) as counted:
            logits = prepared.run(images, twice=twice)
        assert logits.requires_grad
        return counted.peak

    matrices = 2 * 2 * 4 * 257 * 257 * 4  # blocks, images, heads, tokens squared, bytes
    assert kept(True) > matrices > 2 * kept(False)


@pytest.mark.parametrize("interpreter", ["rollout", "chefer", "chefer-lrp", "attention"])
def test_the_schedule_is_that_of_cam(interpreter: str) -> None:
    case = CASES["zoo"]
    system, cam = (uf.System(case.classifier(), {"it": uf.interpreters.create(name)}) for name in (interpreter, "cam"))
    for perturbation in ("pgd", "stadv", "cw"):
        attack = attacks.preset("adv2", perturbation=perturbation)
        assert attack.build(system).stages == attack.build(cam).stages
    images = torch.rand(2, 3, *case.size, generator=torch.Generator().manual_seed(0))
    labels = system.classifier.logits(images).argmax(1)
    found = attacks.preset("auto", eps=8 / 255, budget=12)(system, images, labels)
    assert bool((found.linf > 0).all())
    assert torch.isfinite(found.map_l1["it"]).all()


@pytest.mark.parametrize("interpreter", ["rollout", "chefer", "chefer-lrp", "attnlrp", "gradcam"])
def test_results_do_not_depend_on_the_batch(interpreter: str) -> None:
    """Nor do those of the control, which takes the fused kernel. Bit for bit, as on other networks on a CPU."""
    case = CASES["zoo"]
    system = uf.System(case.classifier(), interpreter)
    images = torch.rand(11, 3, *case.size, generator=torch.Generator().manual_seed(0))
    labels = system.classifier.logits(images).argmax(1)
    attack = attacks.preset("adv2", eps=8 / 255, steps=(2, 3), early_stop=False)
    whole, alone = attack(system, images, labels), attack(system, images[9:10], labels[9:10])
    assert torch.equal(alone.adversarial[0], whole.adversarial[9])
    assert torch.equal(alone.maps[interpreter][0], whole.maps[interpreter][9])
    assert torch.equal(alone.controls["bim"].images[0], whole.controls["bim"].images[9])
