"""Attacks against slow replicas that are closer to the papers, and against another library."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import underfire as uf
from tests.attacks.running import run_alone
from underfire import attacks

EPS = 8 / 255


def targets_of(labels: Tensor) -> tuple[int, ...]:
    return tuple(int((label + 1) % 4) for label in labels)


def eight_bit(eps: float) -> float:
    """The whole levels of eps."""
    return int(eps * 255) / 255


def slow_pgd(network: nn.Module, images: Tensor, targets: Tensor, eps: float, steps: int) -> Tensor:
    """Targeted sign descent, one image at a time, from the definition (Madry et al. 2018), keeping the iterate with
    the lowest loss among those that succeed."""
    kept = []
    for image, target in zip(images, targets, strict=True):
        x, best, lowest = image.clone(), None, float("inf")
        for step in range(steps + 1):
            y = x.clone().requires_grad_()
            logits = network(y.unsqueeze(0))
            loss = F.cross_entropy(logits, target.unsqueeze(0))
            if int(logits.argmax()) == int(target) and float(loss.detach()) < lowest:
                best, lowest = x.clone(), float(loss.detach())
            if step == steps:
                break
            (gradient,) = torch.autograd.grad(loss, y)
            x = (x - gradient.sign() / 255).clamp(image - eps, image + eps).clamp(0, 1)
        kept.append(x if best is None else best)
    return torch.stack(kept).mul(255).round().div(255)


def test_pgd_against_a_slow_replica(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    targets = targets_of(labels)
    attack = attacks.preset("bim", eps=0.1, steps=(5, 25), target_class=attacks.GivenClass(targets))
    result = attack(uf.System(classifier, uf.interpreters.CAM()), images, labels)
    expected = slow_pgd(classifier, images, torch.tensor(targets), eight_bit(0.1), 30)
    # a gradient of 1e-9 may have another sign after folding: a handful of values of 4,608
    assert float((result.adversarial - expected).abs().gt(1e-6).float().mean()) < 2e-3
    assert bool(result.success.any())


def slow_cam(classifier: uf.Classifier, image: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """The logits 1 x K of the tiny network for one image C x H x W, and the CAM h x w of a class (Zhou et al. 2016)."""
    network = classifier.module
    inner = torch.relu(network.norm(network.first(classifier.normalise(image.unsqueeze(0)))))
    features = torch.relu(network.second(inner))
    raw = (network.head.weight[label].detach().view(-1, 1, 1) * features[0]).sum(0)
    return network.head(features.mean((2, 3))), (raw - raw.min()) / (raw.max() - raw.min())


def slow_adv2(
    classifier: uf.Classifier, image: Tensor, label: int, target: int, eps: float, warmup: int, joint: int
) -> tuple[Tensor, float]:
    """ADV2 on CAM for one image ([ADV2] eq. 4-9), and the map distance of the iterate that is kept."""
    goal = slow_cam(classifier, image, label)[1].detach()
    x, best, lowest = image.clone(), None, float("inf")
    for step in range(warmup + joint + 1):
        y = x.clone().requires_grad_()
        logits, cam = slow_cam(classifier, y, target)
        loss = F.cross_entropy(logits, torch.tensor([target]))
        if step >= warmup:
            distance = float((cam - goal).abs().mean())
            if int(logits.argmax()) == target and distance < lowest:
                best, lowest = x.clone(), distance
            progress = (step - warmup) / (joint - 1)
            loss = loss + (5 + 5 * progress) * (cam - goal).square().mean()
        if step == warmup + joint:
            break
        (gradient,) = torch.autograd.grad(loss, y)
        x = (x - gradient.sign() / 255).clamp(image - eps, image + eps).clamp(0, 1)
    return (x if best is None else best), lowest


def test_adv2_against_a_slow_replica(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    targets = targets_of(labels)
    system = uf.System(classifier, uf.interpreters.CAM())
    rule = attacks.GivenClass(targets)
    attack = replace(attacks.preset("adv2", eps=EPS, steps=(4, 12), target_class=rule).build(system), early_stop=None)
    result = attack(system, images, labels)
    for row in range(len(images)):
        expected, distance = slow_adv2(classifier, images[row], int(labels[row]), targets[row], EPS, 4, 12)
        assert float((result.adversarial[row] - expected).abs().gt(1e-6).float().mean()) < 0.01
        if distance < float("inf"):
            assert float(result.map_l1["cam"][row]) == pytest.approx(distance, abs=2e-3)


def test_parity_with_torchattacks(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    targets = targets_of(labels)
    peer = torchattacks.PGD(classifier, eps=EPS, alpha=1 / 255, steps=10, random_start=False)
    peer.set_mode_targeted_by_label(quiet=True)
    theirs = peer(images, torch.tensor(targets)).mul(255).round().div(255)
    attack = attacks.preset("bim", eps=EPS, steps=(0, 10), target_class=attacks.GivenClass(targets))
    system = uf.System(classifier, uf.interpreters.CAM())
    benign = attacks.benign.read_benign(system, images, labels)
    _, outcome = run_alone(attack.build(system), system.view(), benign)
    assert float((outcome.last.mul(255).round().div(255) - theirs).abs().gt(1e-6).float().mean()) < 2e-3
