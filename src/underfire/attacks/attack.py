"""An attack: perturbation x shaping x objective x schedule, as a frozen value of hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from underfire.attacks.base import BaseAttack
from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal
from underfire.attacks.loop import Loop, Progress
from underfire.attacks.outcome import Outcome
from underfire.attacks.perturbations import PGD, Perturbation
from underfire.attacks.probe import probe_logits, probe_views
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.schedule import Stage
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import Shaping, Uniform
from underfire.attacks.target_maps import BenignMap, MapRule
from underfire.attacks.targets import ClassRule, RandomClass
from underfire.errors import InputError
from underfire.system import SystemView


@dataclass(frozen=True)
class Attack(BaseAttack):
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
        classes, maps = self.resolve(benign, seed)
        probe_logits(view.prepared, benign.images)
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
