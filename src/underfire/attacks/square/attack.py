"""``square``: a joint attack by queries alone, which takes no gradient."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import torch

from underfire.arguments import whole_number
from underfire.attacks.aim import Aim
from underfire.attacks.base import BaseAttack
from underfire.attacks.benign import Benign
from underfire.attacks.costs import check_costs
from underfire.attacks.goal import Goal
from underfire.attacks.outcome import Outcome
from underfire.attacks.perturbations import PGD
from underfire.attacks.progress import Progress
from underfire.attacks.schedule import Constant, Weighted
from underfire.attacks.shaping import Shaping, Uniform
from underfire.attacks.square.searching import Searching
from underfire.attacks.target_maps import BenignMap, MapRule
from underfire.attacks.targets import ClassRule, RandomClass
from underfire.batching import in_parts
from underfire.errors import InputError
from underfire.system import SystemView
from underfire.user_parts import check_all, check_part

QUERIES = 1000
"""The queries of ``square`` if nothing else is asked for."""


def is_plain(perturbation: object) -> bool:
    """Return True for an L-inf ball with a radius alone: no other setting of it has an effect on ``square``."""
    return type(perturbation) is PGD and perturbation == PGD(perturbation.eps)


@dataclass(frozen=True)
class Square(BaseAttack):
    """A random search for a joint attack that sees answers alone: logits, maps, and detectors' scores.

    It is a form of the Square attack (Andriushchenko et al. 2020) that goes on after the class is reached. Each query
    changes one square of the best image so far, and the change stays if the image is better. An image that meets the
    goal is better than any other, and one that no detector would notice is better than one that is noticed. Among equal
    images the smaller value counts: the margin while the goal is not met, then the distance of the maps to the wanted
    ones, with the loss terms of the detectors while an image is noticed.

    Where an attack with gradients finds less than this search, gradients are hidden, and a classifier or a detector
    only looks robust (Athalye et al. 2018).

    Args:
        queries: the images that are tried for each image, at least 1. Each is one forward pass, and one reading of the
            maps if it meets the goal.
        perturbation: the L-inf ball. Changes are as many whole levels of 1/255 as it holds.
        goal: reach a class, or leave one.
        target_class: the rule for target classes.
        target_map: the rule for wanted maps.
        terms: loss terms with constant weights, which are added to the maps' distance; those that evade a detector
            count only while an image is noticed. None of them needs a gradient.
        name: the attack's name in results.

    Raises:
        InputError: a setting has an impossible value.
    """

    queries: int = QUERIES
    perturbation: PGD = field(default_factory=PGD)
    goal: Goal = field(default_factory=Goal)
    target_class: ClassRule = field(default_factory=RandomClass)
    target_map: MapRule = field(default_factory=BenignMap)
    terms: tuple[Weighted, ...] = ()
    name: str = "square"
    shaping: Shaping = field(default_factory=Uniform, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queries", whole_number("queries", self.queries, 1))
        terms = check_all(self.terms, Weighted, "terms", "Weighted(Evade())") if self.terms else ()
        object.__setattr__(self, "terms", terms)
        check_part(self.target_class, ClassRule, "target_class")
        check_part(self.target_map, MapRule, "target_map")
        if not is_plain(self.perturbation):
            raise InputError(
                f"perturbation is {self.perturbation!r:.80}, and attack {self.name!r} changes squares inside an L-inf "
                "ball, from the image; expected PGD(eps) with a radius alone."
            )
        check_costs(self.terms, self.perturbation)
        for each in self.terms:
            if hasattr(each.weight, "at") and not isinstance(each.weight, Constant):
                raise InputError(
                    f"the weight of term {each.term.name!r} is {each.weight}, and attack {self.name!r} has no stage "
                    "over which it could change; expected a number."
                )

    @property
    def joint(self) -> bool:
        """True: the search is for maps, too."""
        return True

    @property
    def steps(self) -> int:
        """The number of queries."""
        return self.queries

    @torch.enable_grad()
    def run(
        self,
        view: SystemView,
        benign: Benign,
        aim: Aim,
        *,
        seed: int,
        batch_size: int,
        progress: Progress | None = None,
        trace_every: int | None = None,
    ) -> Outcome:
        total = len(benign.images)

        def one_batch(rows: slice, batch_size: int) -> Outcome:
            heard = progress and partial(_shifted, progress, rows, total)
            search = Searching(
                *(self.name, self.queries, self.perturbation.eps, self.terms, view),
                benign=benign,
                aim=aim,
                rows=rows,
                batch_size=batch_size,
                seed=seed,
            )
            return search(heard, trace_every)

        return Outcome.joined(in_parts(one_batch, total, batch_size))


def _shifted(progress: Progress, rows: slice, total: int, query: int, queries: int) -> None:
    progress(rows.start * queries + (rows.stop - rows.start) * query, total * queries)
