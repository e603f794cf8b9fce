"""The protocol: attacks on a system, and the controls beside them, on the same images.

A call in Python, a shard of a run and everything else that attacks images goes through ``Experiment``, so that all of
them have the same controls under the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from underfire.arguments import whole_number
from underfire.attacks.aim import Aim, merged
from underfire.attacks.alike import warn_unlike
from underfire.attacks.arms import Arm
from underfire.attacks.batch_size import fitting_batch_size
from underfire.attacks.benign import Benign
from underfire.attacks.judge import Judgement, judge, judge_clean
from underfire.attacks.measure import Measure
from underfire.attacks.measures import chosen_measures
from underfire.attacks.noise import NOISE_DRAWS, more_noise
from underfire.attacks.outcome import Outcome
from underfire.attacks.progress import Progress
from underfire.numerics import attacking
from underfire.system import System, SystemView
from underfire.user_parts import guarded


@dataclass(frozen=True)
class Finding:
    """The result of one arm on some images.

    Args:
        arm: the attack or control.
        aim: its aim.
        judgement: what was measured.
        outcome: for attacks: the costs and the course.
        more_noise: for noise: the distances (``map_l1``) under further noise draws, N x (draws - 1), by interpreter.
    """

    arm: Arm
    aim: Aim
    judgement: Judgement
    outcome: Outcome | None = None
    more_noise: Mapping[str, Tensor] = field(default_factory=dict)


class Experiment:
    """Attacks and their controls on one system. One object serves any number of images.

    Args:
        system: what is attacked, and read.
        arms: see ``arms_of``.
        seed: of all random numbers. An image's result depends on it, and not on the batch.
        batch_size: images attacked at once; as many as suit the device and fit into its memory if None.
        memory: the largest number of bytes that the process shall have on the device, for a ``batch_size`` of None.
        precision: ``float32``, ``tf32`` or ``bf16``, of the attacks; verdicts are always the original network's.
        compile: compile the network for the attacks; see ``System.view``.
        size: height and width of the images.
        measures: what is measured.
        noise_draws: the number of times that each image's map is read under random noise, for the limit of "kept".
    """

    def __init__(
        self,
        system: System,
        arms: Sequence[Arm],
        *,
        seed: int,
        batch_size: int | None = None,
        memory: int | None = None,
        precision: str = "float32",
        compile: bool = False,
        size: Sequence[int] | None = None,
        measures: Sequence[Measure] | None = None,
        noise_draws: int = NOISE_DRAWS,
    ) -> None:
        self.noise_draws = whole_number("noise_draws", noise_draws, 1)
        self.system, self.arms = system, tuple(arms)
        self.seed = seed
        self.measures = tuple(chosen_measures() if measures is None else measures)
        self.view = system.view(precision, size, compile)
        self.batch_size = batch_size or self._fitting_size(size, memory)
        self._views: dict[tuple[str, ...], SystemView] = {}

    def _fitting_size(self, size: Sequence[int] | None, memory: int | None) -> int:
        classifier = self.system.classifier
        shape = (classifier.channels, *(size or classifier.image_size or (224, 224)))
        joint = any(arm.attacked for arm in self.arms)
        with attacking(self.view.prepared.precision, classifier.device):
            return fitting_batch_size(self.view, shape, classifier.device, joint=joint, memory=memory)

    def view_of(self, names: Sequence[str]) -> SystemView:
        """Return the differentiable view of the interpreters called ``names``; all share one prepared network.

        If the steps of ``view`` are not recorded, neither are those of its parts.
        """
        key = tuple(names)
        if key not in self._views:
            same = set(key) == set(self.view.views)
            chosen = {name: view for name, view in self.view.views.items() if name in key}
            self._views[key] = self.view if same else SystemView(self.view.prepared, chosen, self.view.compiled)
        part = self._views[key]
        part.records_steps = part.records_steps and self.view.records_steps
        return part

    def _steady(self, names: Sequence[str]) -> Sequence[str]:
        """Leave out interpreters whose views drift, if others remain: only a trace reads maps beside a control."""
        return [name for name in names if not self.view.views[name].refresh_every] or names

    def aims(self, benign: Benign) -> dict[str, Aim]:
        """Settle the aim of every arm for some images, by label. Controls have the aims of the attacks beside them."""
        own: dict[str, Aim] = {}
        for arm in self.arms:
            if arm.kind == "attack":
                assert arm.attack is not None
                some = benign.only(arm.read_by)
                # Attacks of one run want the same classes, so that a rule sees the whole system whatever each is about.
                with attacking(self.view.prepared.precision, benign.images.device):
                    own[arm.label] = arm.attack.aim(self.view, some, self.seed)
        together = merged(list(own.values()))
        # Noise of one attack has the aim of that attack; noise that several attacks share has the aims of all.
        read_by = {arm.label: arm.read_by for arm in self.arms}
        beside = {arm.label: arm.beside for arm in self.arms if arm.beside and read_by[arm.beside] == arm.read_by}
        return {arm.label: own.get(beside.get(arm.label, arm.label), together) for arm in self.arms}

    def perform(
        self,
        arm: Arm,
        benign: Benign,
        aim: Aim,
        *,
        progress: Progress | None = None,
        trace_every: int | None = None,
        masks: Tensor | None = None,
        reading: Callable[[], None] | None = None,
    ) -> Finding:
        """Run one arm on some images, and judge the result.

        Args:
            benign: the images, and what the system honestly says about them.
            aim: this arm's aim; see ``aims``.
            masks: the objects' true masks, bool N x H x W.
            reading: called before the maps of the arm's images are read, which takes long if they are solved for.
        """
        measures, system = self.measures, self.system
        reading = reading or (lambda: None)
        if arm.kind == "clean":
            return Finding(arm, aim, judge_clean(benign, aim, measures, masks))
        if arm.kind == "reseeded":
            other = system.reseeded()
            assert other is not None
            reading()
            return Finding(arm, aim, judge(other, benign, benign.images, aim, measures, own=True, masks=masks))
        if arm.kind == "noise":
            assert arm.beside is not None
            attack = next(other.attack for other in self.arms if other.label == arm.beside)
            assert attack is not None
            noisy = partial(guarded(attack.perturbation, "perturbation").noise, benign.images, benign.ids, self.seed)
            part = system.only(arm.read_by)
            reading()
            judged = judge(part, benign, noisy(0), aim, measures, own=True, masks=masks)
            return Finding(arm, aim, judged, more_noise=more_noise(part, benign, noisy, self.noise_draws))
        assert arm.attack is not None
        view = self.view_of(arm.targets if arm.kind == "attack" else self._steady(arm.targets))
        with attacking(self.view.prepared.precision, benign.images.device):
            if arm.kind == "attack" and arm.attack.joint:
                warn_unlike(system, view, benign)
            outcome = arm.attack.run(
                view,
                benign,
                aim,
                seed=self.seed,
                batch_size=self.batch_size,
                progress=progress,
                trace_every=trace_every,
            )
        part = system.only(arm.read_by)
        reading()
        judged = judge(part, benign, outcome.images, aim, measures, outcome=outcome, masks=masks)
        return Finding(arm, aim, judged, outcome)

    def __call__(
        self, benign: Benign, progress: Progress | None = None, trace_every: int | None = None
    ) -> dict[str, Finding]:
        """Run all arms on the same images. Returns the finding of each arm, by its label.

        Args:
            progress: called after each step with the steps done and their number, over all batches and arms.
            trace_every: record the course of attacks every so many steps.
        """
        aims, found = self.aims(benign), dict[str, Finding]()
        batches = -(-len(benign.images) // self.batch_size)
        total = batches * sum(arm.attack.steps for arm in self.arms if arm.attack is not None)
        done = 0

        for arm in self.arms:
            steps = 0 if arm.attack is None else batches * arm.attack.steps
            step = None if progress is None else _part_of(progress, done, steps, total)
            found[arm.label] = self.perform(arm, benign, aims[arm.label], progress=step, trace_every=trace_every)
            done += steps
        return found


def _part_of(progress: Progress, before: int, share: int, total: int) -> Progress:
    return lambda step, steps: progress(before + share * step // steps, total)
