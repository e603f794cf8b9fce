"""What an attack returns: images, verdicts and costs, one value per image."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.benign import Benign
from underfire.attacks.judge import Judgement
from underfire.attacks.outcome import Outcome
from underfire.attacks.trace import Trace
from underfire.metrics import Interval

if TYPE_CHECKING:
    from underfire.attacks.base import BaseAttack


@dataclass(frozen=True)
class AttackResult:
    """The outcome of an attack on N images. Tensors have leading dimension N; dicts are by interpreter.

    Args:
        images: the benign images as attacked, 8-bit values in [0, 1].
        adversarial: the images that were judged, 8-bit values in [0, 1], inside the constraint. Where the attack
            failed it is the last iterate (or what the attack's own copy of the network took for a success), and
            ``success`` is False; no image is dropped.
        labels: the images' own classes. ``correct_before`` says which the classifier got right before the attack.
        target: the target classes; None for an untargeted attack.
        success: the goal was reached, by the original classifier on the 8-bit image.
        untargeted_success: the predicted class is not the image's own.
        joint_success: correct before, success, and every attacked map (no reader's) closer to its target than
            ``map_threshold``: where the target is the benign map, the 95th percentile of the distances that random
            noise of the same size causes on the images that were correct before; for another one, half of the benign
            map's distance to it.
        confidence: probability of what was wanted, in [0, 1].
        benign_maps: honest maps N x h x w in [0, 1] of the benign images for their own class.
        maps: honest maps of the adversarial images for the target.
        target_maps: the maps N x h x w in [0, 1] that were wanted: the benign ones, unless ``target_map`` says other.
        map_l1: mean absolute difference from the benign map.
        map_l2: root mean square difference from the benign map.
        map_iou: overlap with the benign map, both binarised at 0.5.
        map_ssim: structural similarity to the benign map.
        map_spearman: rank correlation with the benign map.
        map_l1_target: L1 distance to the target map.
        noise_map_l1: map_l1 of random noise of the same size: the control.
        map_threshold: the largest map_l1_target that joint success allows.
        ssim: structural similarity of the adversarial to the benign image.
        linf: largest change of a value.
        l2: Euclidean length of the change.
        edge_energy: share of the change's energy that lies on the image's edges, in [0, 1].
        steps: steps run.
        best_step: the step whose iterate was kept (-1 for none).
        forwards: forward passes through the network during the attack.
        backwards: backward passes through the network during the attack.
        seconds: of the attack's loop alone, shared equally by the images.
        trace: the course, where asked for.
    """

    images: Tensor
    adversarial: Tensor
    labels: Tensor
    correct_before: Tensor
    target: Tensor | None
    success: Tensor
    untargeted_success: Tensor
    joint_success: Tensor
    confidence: Tensor
    benign_maps: dict[str, Tensor]
    maps: dict[str, Tensor]
    target_maps: dict[str, Tensor]
    map_l1: dict[str, Tensor]
    map_l2: dict[str, Tensor]
    map_iou: dict[str, Tensor]
    map_ssim: dict[str, Tensor]
    map_spearman: dict[str, Tensor]
    map_l1_target: dict[str, Tensor]
    noise_map_l1: dict[str, Tensor]
    map_threshold: dict[str, Tensor]
    ssim: Tensor
    linf: Tensor
    l2: Tensor
    edge_energy: Tensor
    steps: Tensor
    best_step: Tensor
    forwards: Tensor
    backwards: Tensor
    seconds: Tensor
    trace: Trace | None = None

    @classmethod
    def build(
        cls,
        attack: BaseAttack,
        benign: Benign,
        classes: Tensor,
        judged: Judgement,
        outcome: Outcome,
        noise: Judgement,
        target_maps: dict[str, Tensor],
        attacked: Container[str],
    ) -> AttackResult:
        noise_l1 = {name: values["map_l1"] for name, values in noise.distances.items()}
        correct = benign.correct.cpu()
        count, joint, thresholds = len(judged.success), judged.success & correct, {}
        for name, values in noise_l1.items():
            limit = torch.full((count,), metrics.noise_threshold(values[correct]), dtype=torch.float64)
            if not attack.target_map.benign:
                limit = metrics.HALFWAY * metrics.map_l1(benign.maps[name].cpu(), target_maps[name].cpu()).double()
            thresholds[name] = limit
            if name in attacked:
                joint = metrics.joint_success(joint, judged.distances[name]["map_l1_target"], limit)
        columns = ("map_l1", "map_l2", "map_iou", "map_ssim", "map_spearman", "map_l1_target")
        return cls(
            images=benign.images.cpu(),
            adversarial=judged.images,
            labels=benign.labels.cpu(),
            correct_before=correct,
            target=classes.cpu() if attack.goal.targeted else None,
            success=judged.success,
            untargeted_success=judged.untargeted_success,
            joint_success=joint,
            confidence=judged.confidence,
            benign_maps={name: value.cpu() for name, value in benign.maps.items()},
            maps=judged.maps,
            target_maps={name: value.cpu() for name, value in target_maps.items()},
            **{key: {name: values[key] for name, values in judged.distances.items()} for key in columns},
            noise_map_l1=noise_l1,
            map_threshold=thresholds,
            ssim=judged.ssim,
            linf=judged.linf,
            l2=judged.l2,
            edge_energy=judged.edge_energy,
            steps=outcome.steps.cpu(),
            best_step=outcome.best_step.cpu(),
            forwards=outcome.forwards.cpu(),
            backwards=outcome.backwards.cpu(),
            seconds=torch.full((count,), outcome.seconds / count),
            trace=outcome.trace,
        )

    def to(self, device: torch.device | str) -> AttackResult:
        """The same result with its tensors on ``device``."""
        return AttackResult(**{f.name: _move(getattr(self, f.name), lambda t: t.to(device)) for f in fields(self)})

    def summary(self) -> dict[str, Interval]:
        """Means with 95 % intervals over the images that were classified correctly before, joint success first;
        ``success_over_all_images`` counts the others as failures."""
        rows = {
            "joint_success": self.joint_success,
            "success": self.success,
            "untargeted_success": self.untargeted_success,
            **{f"map_l1/{name}": values for name, values in self.map_l1.items()},
            **{f"noise_map_l1/{name}": values for name, values in self.noise_map_l1.items()},
        }
        right = self.correct_before
        summary = {name: metrics.interval(values[right]) for name, values in rows.items()}
        return summary | {"success_over_all_images": metrics.interval(self.success & right)}

    def __repr__(self) -> str:
        right = int(self.correct_before.sum())
        lines = [f"AttackResult of {len(self.success)} images, {right} of them classified correctly before"]
        summary = self.summary()
        width = max(map(len, summary)) + 2
        for name, interval in summary.items():
            lines.append(f"  {name:<{width}}{interval.mean:.3f}  [{interval.low:.3f}, {interval.high:.3f}]")
        return "\n".join(lines)


def _move(value: Any, move: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return move(value)
    if isinstance(value, dict):
        return {name: _move(part, move) for name, part in value.items()}
    return value
