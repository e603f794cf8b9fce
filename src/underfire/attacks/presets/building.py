"""Build the attack of a preset on a system: its terms, moves and stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from underfire.attacks.attack import Attack
from underfire.attacks.goal import Goal
from underfire.attacks.perturbations import Perturbation
from underfire.attacks.presets import auto
from underfire.attacks.presets.adaptive import unnoticed_first
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.rows import Row, row_for
from underfire.attacks.schedule import Move, Stage, Weighted
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import EdgeMask, Shaping, Uniform
from underfire.attacks.terms import Interpretation, Penalty, Prediction, Presence
from underfire.attacks.variants import Variant
from underfire.system import System

if TYPE_CHECKING:
    from underfire.attacks.presets.settings import AttackSettings

STRETCH = 4.0
"""The largest factor by which the steps of short schedules grow.

On 8 CIFAR-10 images and 75 joint steps, the maps of MASK end 0.16 from their targets with steps four times as large,
and 0.23 with the published ones."""


@dataclass(frozen=True)
class Plan:
    """The decisions of a preset that do not depend on the system.

    Args:
        name: the attack's name in results.
        joint: True for an attack on prediction and maps.
        auto: True for the joint attack without a published schedule.
        settings: the settings as the user gave them, checked.
        perturbation: the perturbation, complete.
        shaping: the shaping, before the settings on edges act on it.
        variant: what paper and published experiments have differently.
        terms: more loss terms.
        evading: the terms that tell which iterates go unnoticed.
    """

    name: str
    joint: bool
    auto: bool
    settings: AttackSettings
    perturbation: Perturbation
    shaping: Shaping
    variant: Variant
    terms: tuple[Weighted, ...]
    evading: tuple[Weighted, ...]

    @property
    def shaped(self) -> bool:
        """True if edges weigh the perturbation."""
        return not isinstance(self.shaping, Uniform)

    @property
    def shaped_throughout(self) -> bool:
        """True if the shaping acts in all stages."""
        return not self.shaped or (self.settings.edge_scope or self.variant.edge_scope) == "all"


def build(plan: Plan, common: dict[str, Any], system: System) -> Attack:
    """Make the attack of ``plan`` on ``system``; ``common`` holds the rules for target classes and maps."""
    part, settings = plan.perturbation, plan.settings
    rows = {
        name: row_for(part.rows, interpreter.families(), part.name, name)
        for name, interpreter in system.attacked.items()
    }
    if plan.auto:
        part, parts = auto.parts(part, rows, plan.settings, plan.terms)
    else:
        parts = _joint(plan, rows) if plan.joint else _alone(plan, list(rows.values()))
    parts["ranking"] = unnoticed_first(parts["ranking"], plan.evading)
    return Attack(
        name=plan.name,
        perturbation=part,
        shaping=_shaping(plan),
        goal=Goal(settings.targeted),
        search=ConstantSearch(settings.search) if settings.search else None,
        **common,
        **parts,
    )


def _shaping(plan: Plan) -> Shaping:
    shaping = plan.shaping
    if not isinstance(shaping, EdgeMask):
        return shaping
    if plan.settings.edge_threshold is not None:
        shaping = replace(shaping, threshold=plan.settings.edge_threshold)
    graded = plan.variant.graded_mask and not plan.perturbation.has("eps")
    return replace(shaping, graded=True) if graded else shaping


def _steps(plan: Plan, rows: Iterable[Row]) -> tuple[int, int]:
    longest = max(rows, key=lambda row: row.warmup + row.joint)
    return plan.settings.steps or (longest.warmup, longest.joint)


def _joint(plan: Plan, rows: dict[str, Row]) -> dict[str, Any]:
    """Settle stages and ranking of a joint attack. With several interpreters each keeps its weight, and the longest
    schedule counts."""
    every, variant = list(rows.values()), plan.variant
    warmup, joint = _steps(plan, every)
    term = _prediction(every, variant)
    weight = max(row.prediction for row in every)
    prediction = Weighted(term, weight)
    penalty = _penalty(every)
    first = Weighted(_warmup_term(plan, every, term), weight * plan.perturbation.warmup_factor(variant))
    maps = [Weighted(Interpretation(row.reduction, name), row.weight) for name, row in rows.items()]
    presence = max(row.presence for row in every)
    if presence:
        maps.append(Weighted(Presence(), presence))
    confidences = [row.confidence for row in every if row.confidence is not None]
    last = variant.keep_last and not confidences
    asked = plan.settings.early_stop
    stops = variant.early_stop and all(row.rests for row in every) if asked is None else asked
    moves = _joint_moves(every, prediction, (*maps, *penalty, *plan.terms), joint)
    return {
        "stages": (
            Stage("warm-up", warmup, (_move((first, *penalty), every),)),
            Stage("joint", joint, moves, plan.shaped_throughout),
        ),
        "ranking": Ranking("last") if last else Ranking("map", max(confidences, default=None)),
        "early_stop": EarlyStop(after=max(row.stop_after for row in every)) if stops else None,
    }


def _alone(plan: Plan, every: Sequence[Row]) -> dict[str, Any]:
    """Settle stages and ranking of a prediction-only attack: CAM's row without the map, as long as a joint attack."""
    part = plan.perturbation
    weight = max(row.prediction for row in part.rows.values())
    row = row_for(part.rows, (), part.name, "the prediction alone")
    penalty = _penalty([row])
    moves = (_move((Weighted(part.prediction, weight), *penalty, *plan.terms), [row]),)
    warmup, rest = _steps(plan, every)
    stages: tuple[Stage, ...] = (Stage("prediction", warmup + rest, moves),)
    if not plan.shaped_throughout:
        stages = (Stage("warm-up", warmup, moves), Stage("prediction", rest, moves, shaped=False))
    return {
        "stages": stages,
        "ranking": Ranking("penalty" if penalty else "prediction"),
        "early_stop": EarlyStop() if plan.settings.early_stop else None,
    }


def _prediction(rows: Sequence[Row], variant: Variant) -> Prediction:
    """Make the prediction term: the margin if any interpreter's row asks for it."""
    margins = [row.kappa for row in rows if row.loss == "margin"]
    if margins:
        return Prediction("margin", kappa=min(margins))
    smoothing = max(row.smoothing for row in rows)
    share = None if variant.smoothing_shares is None else smoothing / variant.smoothing_shares
    return Prediction(smoothing=smoothing, share=share)


def _warmup_term(plan: Plan, rows: Sequence[Row], term: Prediction) -> Prediction:
    plain = all(row.reduction == "mean" and row.loss == "cross_entropy" for row in rows)
    return Prediction("logit") if plan.variant.raw_logit and plan.shaped and plain else term


def _penalty(rows: Sequence[Row]) -> tuple[Weighted, ...]:
    weight = max(row.penalty for row in rows)
    return (Weighted(Penalty(), weight),) if weight else ()


def _move(terms: tuple[Weighted, ...], rows: Sequence[Row]) -> Move:
    return Move(terms, min(row.size for row in rows), rows[0].rule)


def _joint_moves(
    rows: Sequence[Row], prediction: Weighted, others: tuple[Weighted, ...], steps: int
) -> tuple[Move, ...]:
    """Make one move on everything, or two moves if any interpreter's row asks for them.

    The published sizes of two moves are made for the published number of steps. Fewer steps take larger ones, up to
    ``STRETCH`` times, to come as far.
    """
    for row in rows:
        if row.moves is not None:
            return row.moves.moves(prediction, others, min(STRETCH, max(1.0, row.joint / max(1, steps))))
    return (_move((prediction, *others), rows),)
