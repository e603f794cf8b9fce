"""The verdict: what the honest classifier and interpreters say about an image as it is saved.

Every measurement happens here, once, after the attack, in float32 and on the 8-bit image.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from underfire import metrics
from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal
from underfire.system import System


@dataclass(frozen=True)
class Judgement:
    """Images and what was measured on them; every tensor has leading dimension N and lies on the CPU.

    ``images`` are 8-bit values in [0, 1]; ``explained`` the classes that the maps were read for; ``confidence`` the
    probability of what was wanted; ``maps`` and the distances in ``distances`` are by interpreter: ``map_l1``,
    ``map_l2`` (root mean square), ``map_iou`` (at 0.5), ``map_ssim`` and ``map_spearman`` to the benign map,
    ``map_l1_target`` to the target map.
    """

    images: Tensor
    explained: Tensor
    success: Tensor
    untargeted_success: Tensor
    confidence: Tensor
    ssim: Tensor
    linf: Tensor
    l2: Tensor
    edge_energy: Tensor
    maps: dict[str, Tensor]
    distances: dict[str, dict[str, Tensor]]


def judge(
    system: System,
    benign: Benign,
    images: Tensor,
    classes: Tensor,
    goal: Goal,
    target_maps: dict[str, Tensor] | None = None,
) -> Judgement:
    """Read 8-bit ``images`` honestly, and measure them against the benign ones.

    Args:
        classes: int64 N, what ``goal`` is about.
        target_maps: N x h x w by interpreter; the benign maps where None.
    """
    logits = system.classifier.logits(images)
    maps = system.maps(images, goal.explained(logits, classes), benign.ids)
    return measured(benign, images, logits, maps, classes, goal, target_maps)


def measured(
    benign: Benign,
    images: Tensor,
    logits: Tensor,
    maps: dict[str, Tensor],
    classes: Tensor,
    goal: Goal,
    target_maps: dict[str, Tensor] | None = None,
) -> Judgement:
    """``judge`` for images whose honest ``logits`` N x K and ``maps`` N x h x w are known."""
    explained = goal.explained(logits, classes)
    maps = {name: value.cpu() for name, value in maps.items()}
    expected = {name: value.cpu() for name, value in benign.maps.items()}
    wanted = expected if target_maps is None else {name: value.cpu() for name, value in target_maps.items()}
    clean, saved = benign.images.cpu(), images.cpu()
    return Judgement(
        images=saved,
        explained=explained.cpu(),
        success=goal.reached(logits, classes).cpu(),
        untargeted_success=(logits.argmax(1) != benign.labels).cpu(),
        confidence=goal.probability(logits, classes).cpu(),
        ssim=metrics.ssim(clean, saved),
        linf=metrics.linf(clean, saved),
        l2=metrics.l2(clean, saved),
        edge_energy=metrics.edge_energy(clean, saved),
        maps=maps,
        distances={name: distances(maps[name], expected[name], wanted[name]) for name in maps},
    )


def distances(maps: Tensor, benign: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Every map metric of ``maps`` N x h x w; N values each."""
    return {
        "map_l1": metrics.map_l1(maps, benign),
        "map_l2": metrics.map_l2(maps, benign),
        "map_iou": metrics.map_iou(maps, benign),
        "map_ssim": metrics.map_ssim(maps, benign),
        "map_spearman": metrics.map_spearman(maps, benign),
        "map_l1_target": metrics.map_l1(maps, target),
    }


def judge_clean(benign: Benign, target_maps: dict[str, Tensor] | None = None) -> Judgement:
    """The clean control: the benign images as they were read, for their own classes."""
    goal = Goal(targeted=True)
    return measured(benign, benign.images, benign.logits, benign.maps, benign.labels, goal, target_maps)
