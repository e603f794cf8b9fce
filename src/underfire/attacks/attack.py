"""An attack: perturbation x shaping x objective x schedule, as a frozen value of hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from underfire.attacks.benign import Benign, read_benign
from underfire.attacks.goal import Goal
from underfire.attacks.judge import Judgement, judge
from underfire.attacks.loop import Loop, Progress
from underfire.attacks.outcome import Outcome
from underfire.attacks.perturbations import PGD, Perturbation
from underfire.attacks.probe import probe_views
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.result import AttackResult
from underfire.attacks.schedule import Stage
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import Shaping, Uniform
from underfire.attacks.target_maps import BenignMap, MapRule
from underfire.attacks.targets import ClassRule, RandomClass
from underfire.attacks.trace import Trace
from underfire.batching import suited_size
from underfire.errors import InputError
from underfire.system import System, SystemView


@dataclass(frozen=True)
class Attack:
    """All that an attack consists of; calling it attacks images.

    Args:
        name: what results call it.
        stages: what happens when; see ``underfire.attacks.schedule``.
        perturbation: how an adversarial image is parameterised and moved.
        shaping: how much of the perturbation each pixel gets.
        goal: to reach a class, or to leave one.
        target_class: the class that is wanted; an untargeted attack has none.
        target_map: the map that is wanted.
        ranking: which iterate is kept; where None, by the maps if any stage reads them, else by the prediction.
        early_stop: when an image is let go before its last step; None for never.
        search: for each image's own constant between objective and penalty, by several runs; None for one run.
        exact_prediction_gradient: where an interpreter smooths rectifiers (Grad), take the prediction term's gradient
            from a pass of its own with exact ones: one more forward and backward per step.
    """

    name: str
    stages: tuple[Stage, ...]
    perturbation: Perturbation = field(default_factory=PGD)
    shaping: Shaping = field(default_factory=Uniform)
    goal: Goal = field(default_factory=Goal)
    target_class: ClassRule = field(default_factory=RandomClass)
    target_map: MapRule = field(default_factory=BenignMap)
    ranking: Ranking | None = None
    early_stop: EarlyStop | None = None
    search: ConstantSearch | None = None
    exact_prediction_gradient: bool = False

    def __post_init__(self) -> None:
        if not self.stages:
            raise InputError("stages is empty; an attack needs at least one.")

    @property
    def joint(self) -> bool:
        """Whether maps are part of the objective."""
        return any(stage.reads_maps for stage in self.stages)

    @property
    def kept_by(self) -> Ranking:
        """The ranking, or what goes with the objective: a prediction-only control must not be picked for its map."""
        return self.ranking or Ranking("map" if self.joint else "prediction")

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    @torch.inference_mode(False)
    def __call__(
        self,
        system: System,
        images: Tensor,
        labels: Tensor | Sequence[int],
        *,
        ids: Tensor | Sequence[str] | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        precision: str = "float32",
        progress: Progress | None = None,
        trace_every: int | None = None,
    ) -> AttackResult:
        """Attack ``images``, and judge the outcome together with its noise control.

        Args:
            system: what is attacked; it is left as it was found.
            images: N x C x H x W in [0, 1]; rounded to 8 bits first. Not changed.
            labels: int64 N, the images' own classes.
            ids: stable names (or int64 N) for what is drawn per image; by default images are known by their pixels.
            seed: of everything random. An image's result depends on it, and not on the batch.
            batch_size: images at once; by default what suits the device and the image size.
            precision: ``float32`` or ``bf16`` for the attack; verdicts are always the original network's own.
            progress: called after each step with the steps done and their number, over all batches.
            trace_every: record the course every so many steps; see ``Trace``.

        Raises:
            InputError, ClassifierError, InterpreterError: see the messages; nothing has been attacked then.
        """
        benign = read_benign(system, images, labels, ids)
        if not bool(benign.correct.any()):
            raise InputError(
                f"none of the {len(images)} images is classified correctly, so there is nothing to attack. Are the "
                "labels in the classifier's order, and is its normalisation right?"
            )
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; expected at least 1, or None for what suits the device.")
        view = system.view(precision, benign.images.shape[2:])
        size = batch_size or default_batch_size(benign.images)
        classes, maps, outcome = self.run(view, benign, seed, size, progress, trace_every)
        judgement = judge(system, benign, outcome.images, classes, self.goal, maps)
        noisy = self.perturbation.noise(benign.images, outcome.images, benign.ids, seed)
        noise = judge(system, benign, noisy, benign.labels, Goal(targeted=True))
        return AttackResult.build(self, benign, classes, judgement, outcome, noise, maps).to(images.device)

    def resolve(self, benign: Benign, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
        """What is wanted: the goal's classes int64 N, and the target maps N x h x w by interpreter."""
        classes = self.target_class.classes(benign, seed) if self.goal.targeted else benign.labels
        return classes, self.target_map.maps(benign, classes, seed)

    @torch.enable_grad()
    def run(
        self,
        view: SystemView,
        benign: Benign,
        seed: int,
        batch_size: int,
        progress: Progress | None = None,
        trace_every: int | None = None,
    ) -> tuple[Tensor, dict[str, Tensor], Outcome]:
        """Attack benign images in batches, without judging. Returns the classes, the target maps and the outcome, whose
        images are at 8 bits inside the constraint."""
        classes, maps = self.resolve(benign, seed)
        if self.joint:
            probe_views(view, benign, classes)
        slices = [slice(begin, begin + batch_size) for begin in range(0, len(benign.images), batch_size)]
        rounds = self.search.rounds if self.search else 1
        outcomes = []
        for index, rows in enumerate(slices):

            def once(number: int, constant: Tensor | None, rows: slice = rows, done: int = index * rounds) -> Outcome:
                loop = Loop(
                    self,
                    view,
                    benign.images[rows],
                    classes[rows],
                    {name: value[rows] for name, value in maps.items()},
                    benign.ids[rows],
                    seed=seed,
                    constant=constant,
                    progress=_shifted(progress, done + number, len(slices) * rounds),
                    trace_every=trace_every if number + 1 == rounds else None,
                )
                return loop()

            found = once(0, None) if self.search is None else self.search.best(once, benign.images[rows])
            outcomes.append(found)
        outcome = Outcome.joined(outcomes)
        outcome.images = self.perturbation.levels(benign.images, outcome.images)
        return classes, maps, outcome


def _shifted(progress: Progress | None, index: int, batches: int) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda step, total: progress(index * total + step, batches * total)


def default_batch_size(images: Tensor) -> int:
    """A batch size for images N x C x H x W that suits their device."""
    return suited_size(images.shape[2], images.shape[3], images.device)


__all__ = ["Attack", "Judgement", "Trace", "default_batch_size"]
