"""The result of an attack: images, verdicts, measures and controls, one value per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.aim import Aim
from underfire.attacks.benign import Benign
from underfire.attacks.experiment import Finding
from underfire.attacks.intervals import JointIntervals, Outcome
from underfire.attacks.judge import Judgement
from underfire.attacks.limits import Flags, Limit, Numbers, all_at_once, joint_success, kept_limit, reached_limit
from underfire.attacks.measures import Values
from underfire.attacks.showing import Showing
from underfire.attacks.trace import Trace
from underfire.errors import warn_deprecated
from underfire.metrics import Interval
from underfire.text import counted


@dataclass(frozen=True)
class AttackResult(Showing):
    """The outcome of an attack on N images. Tensors have leading dimension N; dicts are by interpreter.

    Every measure of the table ``underfire.attacks.MEASURES`` is also an attribute: ``result.success`` and
    ``result.ssim`` have N values, ``result.map_l1["cam"]`` has N values of one interpreter. Those of the chance control
    (``chance_other_map``, ``chance_average_map``) belong to the limits, and are equal for attack and controls.

    A notebook shows the result as a table with a few images; ``figure()`` gives these as a picture, and ``to_pandas()``
    all values.

    Args:
        attack: the attack's name.
        images: the benign images as attacked, 8-bit values in [0, 1].
        adversarial: the images that were judged, 8-bit values in [0, 1], inside the constraint. If the attack failed
            it is the last iterate (or an image that only the attack's own copy of the network took for a success), and
            ``success`` is False; no image is dropped.
        labels: int64 N, the images' own classes.
        correct_before: bool N, images that the classifier got right before the attack.
        target: int64 N, the target classes; None for an untargeted attack.
        benign_maps: honest maps N x h x w in [0, 1] of the benign images for their own class.
        maps: honest maps of the adversarial images for the target.
        target_maps: the wanted maps N x h x w in [0, 1]: the benign ones unless ``target_map`` asks for others.
        map_limit: the largest ``map_l1_target`` that joint success allows, N. If the wanted map is the benign one, the
            95th percentile of the distances that random noise causes on the images that were correct before, capped so
            that at most 5 % of other images' maps are nearer; for another one, half of the benign map's distance to it.
        limits: the origin of ``map_limit`` by interpreter, with the chance control; see ``Limit``.
        joint_success: bool N by interpreter: correct before, success, and map nearer to its target than ``map_limit``.
            ``joint_success["cam"]`` is what a run's results call ``joint_success`` of the interpreter ``cam``.
        joint_success_own_limit: the same with the limit of each image's own noise draws.
        joint_success_all: bool N: joint success of all attacked interpreters (no reader) at once.
        values: all measures of the attack.
        controls: the same of each control (``clean``, ``noise``, ``reseeded`` and the prediction-only attack), by name.
        best_step: the step whose iterate was kept; -1 if none succeeded.
        trace: losses, success and map distances at regular steps, if asked for.
        class_names: one name per class, if the classifier has names; for pictures.
        prediction_only: the name of the prediction-only attack in ``controls``; None if there is none.
        attacked: the attacked interpreters (no readers).
        predicted: int64 N, the classes that the classifier gives the adversarial images.
    """

    attack: str
    images: Tensor
    adversarial: Tensor
    labels: Tensor
    correct_before: Tensor
    target: Tensor | None
    benign_maps: dict[str, Tensor]
    maps: dict[str, Tensor]
    target_maps: dict[str, Tensor]
    map_limit: dict[str, Tensor]
    limits: dict[str, Limit]
    joint_success: dict[str, Tensor]
    joint_success_own_limit: dict[str, Tensor]
    joint_success_all: Tensor
    values: Values
    controls: dict[str, Judgement]
    best_step: Tensor
    trace: Trace | None = None
    class_names: tuple[str, ...] = ()
    prediction_only: str | None = None
    attacked: tuple[str, ...] = ()
    predicted: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        values = vars(self).get("values", {})
        if name in values:
            return values[name]
        if name == "map_threshold":
            warn_deprecated("result.map_threshold", "result.map_limit")
            return self.map_limit
        if name == "noise_map_l1":
            warn_deprecated("result.noise_map_l1", "result.controls['noise'].map_l1")
            return self.controls["noise"].map_l1
        raise AttributeError(f"there is no measure {name!r}; known: {', '.join(values)}")

    @cached_property
    def chance_other_map(self) -> dict[str, Tensor]:
        """The chance control with another image's map: the share of other images' maps that each image's limit lets
        pass, N by interpreter; NaN for images that were not classified correctly."""
        return {name: self._per_image(limit.passing[0]) for name, limit in self.limits.items()}

    @cached_property
    def chance_average_map(self) -> dict[str, Tensor]:
        """The chance control with the average map: True if each image's limit lets it pass, bool N by interpreter."""
        return {name: self._per_image(limit.passing[1]) for name, limit in self.limits.items()}

    def _per_image(self, values: Numbers | Flags) -> Tensor:
        return torch.from_numpy(values).to(self.labels.device)

    @classmethod
    def build(
        cls,
        benign: Benign,
        found: Mapping[str, Finding],
        attacked: Sequence[str],
        class_names: Sequence[str] | None = None,
    ) -> AttackResult:
        """Build the result from the outcomes of an experiment with one attack."""
        asked = next(finding for finding in found.values() if finding.arm.kind == "attack")
        aim, judged, outcome = asked.aim, asked.judgement, asked.outcome
        assert outcome is not None
        correct = benign.correct.cpu()
        limits: dict[str, Limit] = {name: _limit(name, benign, found, aim) for name in judged.maps}
        joint: dict[str, Tensor] = {}
        own: dict[str, Tensor] = {}
        for name, limit in limits.items():
            decide = partial(joint_success, judged.success.numpy(), correct.numpy())
            distance = _numbers(judged.map_l1_target[name])
            joint[name] = torch.from_numpy(decide(distance, limit.values))
            own[name] = torch.from_numpy(decide(distance, limit.own))
        return cls(
            attack=asked.arm.name,
            images=benign.images.cpu(),
            adversarial=judged.images,
            labels=benign.labels.cpu(),
            correct_before=correct,
            target=aim.classes.cpu() if aim.goal.targeted else None,
            benign_maps={name: value.cpu() for name, value in benign.maps.items()},
            maps=judged.maps,
            target_maps={name: value.cpu() for name, value in aim.maps.items()},
            map_limit={name: torch.from_numpy(limit.values) for name, limit in limits.items()},
            limits=limits,
            joint_success=joint,
            joint_success_own_limit=own,
            joint_success_all=torch.from_numpy(all_at_once({name: joint[name].numpy() for name in attacked})),
            values=judged.values,
            controls={label: finding.judgement for label, finding in found.items() if finding is not asked},
            best_step=outcome.best_step.cpu(),
            trace=outcome.trace,
            class_names=tuple(class_names or ()),
            prediction_only=next((label for label, each in found.items() if each.arm.kind == "control"), None),
            attacked=tuple(attacked),
            predicted=judged.logits.argmax(1),
        )

    def to(self, device: torch.device | str) -> AttackResult:
        """Return the result with its tensors on ``device``; controls stay on the CPU."""
        return AttackResult(**{f.name: _move(getattr(self, f.name), lambda t: t.to(device)) for f in fields(self)})

    def summary(self) -> dict[str, Interval]:
        """Compute means with 95 % intervals over the images that were classified correctly before.

        Joint success comes first, then the chance control: how often a map that has nothing to do with the image would
        count as kept (another image's map, and the average map). ``success_over_all_images`` counts misclassified
        images as failures.
        """
        rows: dict[str, Tensor] = {}
        for name in ("success", "untargeted_success"):
            rows[name] = getattr(self, name)
        rows |= {f"map_l1/{name}": values for name, values in self.map_l1.items()}
        for label, judged in self.controls.items():
            if label != "clean":
                rows |= {f"map_l1/{name} under {label}": values for name, values in judged.map_l1.items()}
        right = self.correct_before
        means = {name: metrics.interval(values[right], metrics.UNIT) for name, values in rows.items()}
        return self._joint_summary() | means | {"success_over_all_images": metrics.interval(self.success & right)}

    def _joint_summary(self) -> dict[str, Interval]:
        intervals = JointIntervals(self.limits)
        asked = {name: [name] for name in self.joint_success}
        if len(asked) > 1:
            asked = {"": list(self.attacked)} | asked
        found = {}
        for name, together in asked.items():
            key = f"joint_success/{name}" if name else "joint_success_all"
            attack = _outcome(self, together)
            found[key] = intervals.joint(attack)
            control = None if self.prediction_only is None else self.controls[self.prediction_only]
            if control is not None and set(together) <= set(control.maps):
                found[f"{key} minus {self.prediction_only}"] = intervals.gap(attack, _outcome(control, together))
        for name, passed in intervals.chance.items():
            found |= {f"chance/{name}/{what} map": share for what, share in passed.items()}
        return found

    def __repr__(self) -> str:
        right = int(self.correct_before.sum())
        lines = [f"AttackResult of {counted(len(self.success), 'image')}, {right} of them classified correctly before"]
        summary = self.summary()
        width = max(map(len, summary)) + 2
        for name, interval in summary.items():
            known = interval.mean is not None
            said = f"{interval.mean:.3f}  [{interval.low:.3f}, {interval.high:.3f}]" if known else "unknown"
            lines.append(f"  {name:<{width}}{said}")
        return "\n".join(lines)


def _limit(name: str, benign: Benign, found: Mapping[str, Finding], aim: Aim) -> Limit:
    maps, correct = benign.maps[name], benign.correct.cpu().numpy()
    if not aim.keeps_benign:
        wanted = aim.maps[name]
        to_target = _numbers(found["clean"].judgement.map_l1_target[name])
        return reached_limit(to_target, correct, lambda rows: maps[list(rows)], lambda rows: wanted[list(rows)])
    noise = found["noise"]
    first = noise.judgement.map_l1[name].double().unsqueeze(1)
    draws = [first, noise.more_noise[name]] if name in noise.more_noise else [first]
    return kept_limit(_numbers(torch.cat(draws, dim=1)), correct, lambda rows: maps[list(rows)])


def _outcome(judged: AttackResult | Judgement, names: Sequence[str]) -> Outcome:
    distances = {name: _numbers(judged.map_l1_target[name].cpu()) for name in names}
    return Outcome(judged.success.cpu().numpy(), distances)


def _numbers(values: Tensor) -> Numbers:
    return values.double().numpy()


def _move(value: Any, move: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return move(value)
    if isinstance(value, dict):
        return {name: _move(part, move) for name, part in value.items()}
    return value
