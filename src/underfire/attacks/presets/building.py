"""From a preset and a system to the attack: perturbation, shaping, terms, schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from underfire.attacks.attack import Attack
from underfire.attacks.goal import Goal
from underfire.attacks.objective import Interpretation, Penalty, Prediction, Presence
from underfire.attacks.perturbations import CW, PGD, Perturbation, StAdv
from underfire.attacks.presets.rows import ROWS, STRETCH, Row
from underfire.attacks.presets.variants import Variant
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.schedule import Move, Stage, Weighted
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import Edge, EdgeMask, Shaping, Uniform
from underfire.system import System

if TYPE_CHECKING:
    from underfire.attacks.presets.preset import Preset


_UNIFORM = Uniform()


@dataclass(frozen=True)
class Kind:
    """What an attack's name stands for: on maps and prediction, or on the prediction alone; its shaping; and the
    perturbation, where the name is one's."""

    about: str
    joint: bool
    shaping: Shaping = _UNIFORM
    perturbation: str | None = None


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "adv2": Kind("class and map at once (Zhang et al. 2020)", True),
        "advedge": Kind("ADV2, weighted by the image's edges (Abdukhamidov et al. 2022)", True, Edge()),
        "advedge+": Kind("ADV2, on the image's edges alone (Abdukhamidov et al. 2022)", True, EdgeMask()),
        "pgd": Kind("class alone: signed steps in an L-inf ball, from a random start", False, perturbation="pgd"),
        "bim": Kind("class alone: signed steps in an L-inf ball, from the image", False, perturbation="bim"),
        "cw": Kind("class alone: Carlini & Wagner's L2", False, perturbation="cw"),
        "stadv": Kind("class alone: pixels are moved, not changed", False, perturbation="stadv"),
    }
)


def build(preset: Preset, system: System) -> Attack:
    """The attack of ``preset`` on ``system``."""
    variant, kind = preset.settings, KINDS[preset.name]
    shaping = _shaping(preset, variant)
    table = ROWS[preset.perturbation_name]
    rows = {name: table[interpreter.family] for name, interpreter in system.attacked.items()}
    common = {
        "name": preset.name,
        "perturbation": perturbation_of(preset, shaping),
        "shaping": shaping,
        "goal": Goal(preset.targeted),
        "target_class": preset.target_class,
        "target_map": preset.target_map,
        "search": ConstantSearch(preset.search) if preset.search else None,
    }
    return Attack(**common, **(_joint if kind.joint else _alone)(preset, variant, shaping, rows))  # type: ignore[arg-type]


def perturbation_of(preset: Preset, shaping: Shaping) -> Perturbation:
    """The perturbation of ``preset`` under ``shaping``."""
    name = preset.perturbation_name
    if name == "cw":
        return CW(noise_eps=preset.noise_eps)
    if name == "stadv":
        neighbours = preset.neighbours or preset.settings.neighbours
        return StAdv(neighbours=neighbours, noise_eps=preset.noise_eps)
    start = preset.random_start
    if start is None:  # the joint attacks have none, as published
        start = name == "pgd" and not KINDS[preset.name].joint
    assert preset.eps is not None
    return PGD(preset.eps, random_start=start, rounded=not isinstance(shaping, Uniform))


def _shaping(preset: Preset, variant: Variant) -> Shaping:
    shaping = preset.shaping or KINDS[preset.name].shaping
    if not isinstance(shaping, EdgeMask):
        return shaping
    if preset.edge_threshold is not None:
        shaping = replace(shaping, threshold=preset.edge_threshold)
    graded = variant.graded_mask and preset.perturbation_name in ("cw", "stadv")
    return replace(shaping, graded=True) if graded else shaping


def _steps(preset: Preset, rows: Iterable[Row]) -> tuple[int, int]:
    longest = max(rows, key=lambda row: row.warmup + row.joint)
    return preset.steps or (longest.warmup, longest.joint)


def _joint(preset: Preset, variant: Variant, shaping: Shaping, rows: Mapping[str, Row]) -> dict[str, object]:
    every = list(rows.values())
    warmup, joint = _steps(preset, every)
    term = _prediction(every, variant)
    weight = max(row.prediction for row in every)
    prediction = Weighted(term, weight)
    added = _penalty(every)
    first = Weighted(_warmup_term(preset, variant, shaping, every, term), weight)
    if preset.perturbation_name == "cw":
        first = replace(first, weight=weight * variant.warmup_constant)
    maps = [Weighted(Interpretation(row.reduction, name), row.weight) for name, row in rows.items()]
    presence = max(row.presence for row in every)
    if presence:
        maps.append(Weighted(Presence(), presence))
    confidences = [row.confidence for row in every if row.confidence is not None]
    last = variant.keep_last and not confidences
    stops = variant.early_stop and all(row.rests for row in every) if preset.early_stop is None else preset.early_stop
    shaped = _shaped_throughout(preset, variant, shaping)
    return {
        "stages": (
            Stage("warm-up", warmup, (_move((first, *added), every),)),
            Stage("joint", joint, _joint_moves(every, prediction, (*maps, *added), joint), shaped),
        ),
        "ranking": Ranking("last") if last else Ranking("map", max(confidences, default=None)),
        "early_stop": EarlyStop(after=max(row.stop_after for row in every)) if stops else None,
    }


def _shaped_throughout(preset: Preset, variant: Variant, shaping: Shaping) -> bool:
    return isinstance(shaping, Uniform) or (preset.edge_scope or variant.edge_scope) == "all"


def _alone(preset: Preset, variant: Variant, shaping: Shaping, rows: Mapping[str, Row]) -> dict[str, object]:
    every = list(rows.values())
    margin = preset.perturbation_name == "cw"
    term = Prediction("margin") if margin else Prediction()
    weight = max(row.prediction for row in ROWS[preset.perturbation_name].values())
    penalty = _penalty([ROWS[preset.perturbation_name]["cam"]])
    moves = (_move((Weighted(term, weight), *penalty), [ROWS[preset.perturbation_name]["cam"]]),)
    warmup, rest = _steps(preset, every)
    stages: tuple[Stage, ...] = (Stage("prediction", warmup + rest, moves),)
    if not _shaped_throughout(preset, variant, shaping):
        stages = (Stage("warm-up", warmup, moves), Stage("prediction", rest, moves, shaped=False))
    return {
        "stages": stages,
        "ranking": Ranking("penalty" if penalty else "prediction"),
    }


def _prediction(rows: Sequence[Row], variant: Variant) -> Prediction:
    """The prediction term: the margin where any interpreter's row asks for it."""
    margins = [row.kappa for row in rows if row.loss == "margin"]
    if margins:
        return Prediction("margin", kappa=min(margins))
    smoothing = max(row.smoothing for row in rows)
    share = None if variant.smoothing_shares is None else smoothing / variant.smoothing_shares
    return Prediction(smoothing=smoothing, share=share)


def _warmup_term(
    preset: Preset, variant: Variant, shaping: Shaping, rows: Sequence[Row], term: Prediction
) -> Prediction:
    edges = variant.raw_logit and not isinstance(shaping, Uniform)
    plain = all(row.reduction == "mean" and row.loss == "cross_entropy" for row in rows)
    return Prediction("logit") if edges and plain else term


def _penalty(rows: Sequence[Row]) -> tuple[Weighted, ...]:
    weight = max(row.penalty for row in rows)
    return (Weighted(Penalty(), weight),) if weight else ()


def _move(terms: tuple[Weighted, ...], rows: Sequence[Row]) -> Move:
    return Move(terms, min(row.size for row in rows), rows[0].rule)


def _joint_moves(
    rows: Sequence[Row], prediction: Weighted, others: tuple[Weighted, ...], steps: int
) -> tuple[Move, ...]:
    """One move on everything; two where any interpreter's row asks for them.

    Their published sizes are made for the published number of steps; fewer take larger ones, up to ``STRETCH`` times,
    to come as far.
    """
    for row in rows:
        if row.moves is not None:
            return row.moves.moves(prediction, others, min(STRETCH, max(1.0, row.joint / max(1, steps))))
    return (_move((prediction, *others), rows),)
