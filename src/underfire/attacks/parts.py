"""The parts that an attack is assembled from: perturbation x shaping x objective x schedule."""

from __future__ import annotations

from dataclasses import dataclass, field

from underfire.attacks.costs import check_costs
from underfire.attacks.goal import Goal
from underfire.attacks.perturbations import PGD, Perturbation
from underfire.attacks.pricing import Pricing, check_pricing
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.schedule import Stage
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import Shaping, Uniform
from underfire.attacks.target_maps import BenignMap, MapRule
from underfire.attacks.targets import ClassRule, RandomClass
from underfire.errors import InputError
from underfire.user_parts import check_all, check_kind, check_part, is_own


@dataclass(frozen=True)
class Parts:
    """The parts of an attack, as a frozen value.

    Args:
        name: the attack's name in results.
        stages: what happens when; see ``underfire.attacks.schedule``.
        perturbation: how an adversarial image is parameterised and moved.
        shaping: the weight of the perturbation at each pixel.
        goal: reach a class, or leave one.
        target_class: the rule for target classes; an untargeted attack ignores it.
        target_map: the rule for wanted maps.
        ranking: which iterate is kept. If None: by the maps if any stage reads them, else by the prediction.
        early_stop: when the attack on an image stops before its last step; never if None.
        search: a search for the weight of the objective against the perturbation's cost, for each image, by several
            runs (the constant c of Carlini & Wagner 2017); one run if None.
        pricing: the price of each image on the terms that are ``priced``; no price if None.
        exact_prediction_gradient: if an interpreter smooths rectifiers (Grad), take the prediction term's gradient from
            a pass of its own with exact ones: one more forward and backward pass per step.
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
    pricing: Pricing | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", check_all(self.stages, Stage, "stages", 'Stage("joint", 200, moves)'))
        check_part(self.perturbation, Perturbation, "perturbation")
        check_part(self.shaping, Shaping, "shaping")
        check_part(self.target_class, ClassRule, "target_class")
        check_part(self.target_map, MapRule, "target_map")
        check_kind(self.goal, Goal, "goal", ", such as Goal(targeted=False)")
        for name, kind in (("ranking", Ranking), ("early_stop", EarlyStop), ("search", ConstantSearch)):
            if getattr(self, name) is not None:
                check_kind(getattr(self, name), kind, name, ", or None")
        check_pricing(self.pricing)
        self._check_use()

    def _check_use(self) -> None:
        """Raise InputError if a part would have no effect."""
        terms = [weighted for stage in self.stages for move in stage.moves for weighted in move.terms]
        check_costs(terms, self.perturbation)
        for weighted in terms:
            if not weighted.term.has_gradient:
                raise InputError(
                    f"term {weighted.term.name!r} is {weighted.term!r:.120}, which has no gradient, and attack "
                    f"{self.name!r} takes gradients: take the attack square, or a term with a gradient."
                )
        if self.pricing is not None and not any(weighted.priced for weighted in terms):
            raise InputError("pricing is given, and no term is priced; expected a Weighted(term, priced=True).")
        if self.search is not None and not any(each.term.needs_cost or is_own(each.term) for each in terms):
            raise InputError(
                "search is given, and no term has the cost that it sets the weight of; expected a Weighted(Penalty())."
            )
        if self.ranking is not None and self.ranking.criterion == "penalty" and not self.perturbation.has_cost():
            raise InputError(
                f"ranking is by the penalty, and perturbation {self.perturbation.name!r} has no cost of its own; "
                "expected the criterion 'prediction' or 'map'."
            )

    @property
    def joint(self) -> bool:
        """True if maps are part of the objective."""
        return any(stage.reads_maps for stage in self.stages)

    @property
    def kept_by(self) -> Ranking:
        """The ranking that is used; by default it is by maps if the attack is joint, else by prediction."""
        return self.ranking or Ranking("map" if self.joint else "prediction")

    @property
    def acting(self) -> tuple[object, ...]:
        """The parts that act in every step, besides moves and their terms."""
        return (self.perturbation, self.kept_by, *([self.pricing] if self.pricing else []))

    @property
    def steps(self) -> int:
        """The number of steps of all stages."""
        return sum(stage.steps for stage in self.stages)
