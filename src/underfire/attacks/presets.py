"""The attacks of the papers, as rows of a table.

A preset is a function of the system, since the published schedules depend on the interpreter: gradient-type
interpreters take Grad's row, activation-type ones CAM's. With several, each keeps its weight and the longest
schedule counts. Sources: [ADV2] section 4.1 and its published experiments; the differences between the variants
``paper`` (ours) and ``published`` (as the experiments ran) are the fields of ``Variant``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from underfire.attacks.attack import Attack
from underfire.attacks.goal import Goal
from underfire.attacks.guards import MarginGuard
from underfire.attacks.objective import Interpretation, Prediction, Presence
from underfire.attacks.perturbations import PGD, parse_eps
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.result import AttackResult
from underfire.attacks.rules import UnitRMS
from underfire.attacks.schedule import Constant, Linear, Move, Phases, Stage, Weight, Weighted
from underfire.attacks.targets import CLASS_RULES, ClassRule, GivenClass, RandomClass
from underfire.errors import InputError, unknown_name
from underfire.system import System

ALPHA = 1 / 255


@dataclass(frozen=True)
class TwoMoves:
    """A joint step in two moves: one of size ``prediction`` on the prediction, then one on the maps, whose size is the
    largest up to ``interpretation`` that the guard allows ([ADV2] alg. 1). Sizes are root mean squares over the values
    of an image, since the published L2 sizes for 224 x 224 pixels, scaled with the side, are that at every size."""

    prediction: float
    interpretation: Phases
    guard: MarginGuard = field(default_factory=MarginGuard)

    def moves(self, prediction: Weighted, maps: tuple[Weighted, ...], stretch: float) -> tuple[Move, ...]:
        """The moves of a joint step, their sizes times ``stretch``."""
        sizes = tuple(stretch * size for size in self.interpretation.values)
        return (
            Move((prediction,), stretch * self.prediction, UnitRMS()),
            Move(maps, replace(self.interpretation, values=sizes), UnitRMS(), self.guard),
        )


@dataclass(frozen=True)
class Row:
    """The published schedule for one family of interpreters (PGD).

    ``loss`` and ``smoothing`` are of the prediction term, ``smoothing`` what it leaves to other classes, and
    ``confidence`` the probability beyond which iterates rank first. ``moves`` splits the joint step in two. ``rests``
    says whether the weight stands still at last, so that an image which has come to rest gains nothing by staying, and
    ``stop_after`` the share of the joint stage that every image runs in any case. ``presence`` is the weight of what
    the interpreters add beyond their maps.
    """

    warmup: int
    joint: int
    weight: Weight
    reduction: str
    loss: Literal["cross_entropy", "margin"] = "cross_entropy"
    smoothing: float = 0.0
    confidence: float | None = None
    rests: bool = False
    stop_after: float = 0.5
    presence: float = 0.0
    moves: TwoMoves | None = None


STRETCH = 4.0
"""How much larger the steps of short schedules become at most. On 8 CIFAR-10 images and 75 joint steps, the maps of
MASK end 0.16 from their targets with steps four times as large, and 0.23 with the published ones."""

_RMS = 1 / math.sqrt(3 * 224 * 224)
"""The root mean square of an L2 step of 1 on the images of the published experiments."""

_MASK_MOVES = TwoMoves(0.05 * _RMS, Phases((0.08 * _RMS, 0.04 * _RMS), (900, 100)))
_GRAD_PHASES = Phases((0.001, 0.004, 0.01, 0.05), (301, 201, 101, 101))

ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "grad": Row(300, 704, _GRAD_PHASES, "sum", smoothing=0.05, confidence=0.8, rests=True, stop_after=0.86),
        "cam": Row(400, 1200, Linear(5.0, 10.0), "mean"),
        "rts": Row(300, 1000, Linear(5.0, 10.0), "mean", presence=1.0),
        "mask": Row(400, 1000, Linear(5.0, 10.0), "mean", loss="margin", moves=_MASK_MOVES),
    }
)


@dataclass(frozen=True)
class Variant:
    """Where underfire's ``paper`` settings and the published experiments part.

    ``smoothing_shares``: label smoothing divides what it takes among so many classes, whatever their number is; among
    all others where None. ``keep_last``: where no confidence ranks iterates, the last one is kept instead of the best.
    ``early_stop``: images that have come to rest leave where the weights stand still at last.
    """

    name: str
    smoothing_shares: int | None
    keep_last: bool
    early_stop: bool


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "paper": Variant("paper", smoothing_shares=None, keep_last=False, early_stop=True),
        "published": Variant("published", smoothing_shares=9, keep_last=True, early_stop=False),
    }
)


@dataclass(frozen=True)
class Preset:
    """A named attack whose details depend on the system. Call it like an attack, or ``build`` the attack itself.

    Args:
        name: ``adv2``, ``pgd`` or ``bim``.
        eps: L-inf radius in pixel units.
        steps: warm-up and joint steps instead of the published ones; weights rescale with them.
        variant: ``paper`` or ``published``. An interpreter's own published settings (Grad's normalised pixels) are the
            interpreter's: ``interpreters.create("grad", "published")``.
        early_stop: whether images that have come to rest leave; by default where weights stand still at last (Grad)
            and never under ``published``. On CAM it saves a fifth of the steps and costs 3 % of map distance.
        targeted: reach a class (default), or only leave the image's own.
        target_class: which class, where targeted.
    """

    name: str
    eps: float = 0.031
    steps: tuple[int, int] | None = None
    variant: str = "paper"
    targeted: bool = True
    target_class: ClassRule = field(default_factory=RandomClass)
    early_stop: bool | None = None

    def __post_init__(self) -> None:
        if self.name not in BUILDERS:
            raise unknown_name("attack", self.name, BUILDERS)
        if self.variant not in VARIANTS:
            raise unknown_name("preset variant", self.variant, VARIANTS)
        if self.steps is not None and (len(self.steps) != 2 or min(self.steps) < 0 or not sum(self.steps)):
            raise InputError(
                f"steps is {self.steps}; expected the numbers of warm-up and joint steps, such as (40, 160)."
            )
        PGD(self.eps)

    def build(self, system: System) -> Attack:
        """The attack on ``system``."""
        return BUILDERS[self.name](self, system)

    def __call__(self, system: System, images: Tensor, labels: Tensor, **options: Any) -> AttackResult:
        """Attack ``images``: the same arguments and result as ``Attack.__call__``."""
        return self.build(system)(system, images, labels, **options)

    def control(self) -> Preset:
        """The prediction-only attack with the same start and as many steps."""
        return replace(self, name="bim")


def rows_of(system: System) -> dict[str, Row]:
    """Each interpreter's row."""
    return {name: ROWS[interpreter.family] for name, interpreter in system.interpreters.items()}


def _steps(preset: Preset, rows: Sequence[Row]) -> tuple[int, int]:
    longest = max(rows, key=lambda row: row.warmup + row.joint)
    return preset.steps or (longest.warmup, longest.joint)


def _adv2(preset: Preset, system: System) -> Attack:
    rows = rows_of(system)
    warmup, joint = _steps(preset, list(rows.values()))
    smoothing = max(row.smoothing for row in rows.values())
    confidences = [row.confidence for row in rows.values() if row.confidence is not None]
    variant = VARIANTS[preset.variant]
    share = None if variant.smoothing_shares is None else smoothing / variant.smoothing_shares
    prediction = Weighted(_prediction(rows.values(), smoothing, share))
    maps = tuple(
        Weighted(Interpretation("sum" if row.reduction == "sum" else "mean", name), row.weight)
        for name, row in rows.items()
    )
    presence = max(row.presence for row in rows.values())
    added = (Weighted(Presence(), presence),) if presence else ()
    stops = variant.early_stop and all(row.rests for row in rows.values())
    if preset.early_stop is not None:
        stops = preset.early_stop
    stop = EarlyStop(after=max(row.stop_after for row in rows.values()))
    ranking = Ranking("map", max(confidences, default=None))
    if variant.keep_last and not confidences:
        ranking = Ranking("last")
    return Attack(
        name="adv2",
        perturbation=PGD(preset.eps),
        goal=Goal(preset.targeted),
        target_class=preset.target_class,
        stages=(
            Stage("warm-up", warmup, (Move((prediction,), Constant(ALPHA)),)),
            Stage("joint", joint, _joint_moves(rows.values(), prediction, (*maps, *added), joint)),
        ),
        ranking=ranking,
        early_stop=stop if stops else None,
    )


def _prediction(rows: Iterable[Row], smoothing: float, share: float | None) -> Prediction:
    """The prediction term: the margin, without end, where any interpreter's row asks for it."""
    if any(row.loss == "margin" for row in rows):
        return Prediction("margin", kappa=math.inf)
    return Prediction(smoothing=smoothing, share=share)


def _joint_moves(rows: Iterable[Row], prediction: Weighted, maps: tuple[Weighted, ...], steps: int) -> tuple[Move, ...]:
    """One move on everything; two where any interpreter's row asks for them.

    Their published sizes are made for the published number of steps; fewer take larger ones, up to ``STRETCH`` times,
    to come as far.
    """
    for row in rows:
        if row.moves is not None:
            return row.moves.moves(prediction, maps, min(STRETCH, max(1.0, row.joint / max(1, steps))))
    return (Move((prediction, *maps), Constant(ALPHA)),)


def _prediction_only(preset: Preset, system: System) -> Attack:
    return Attack(
        name=preset.name,
        perturbation=PGD(preset.eps, random_start=preset.name == "pgd"),
        goal=Goal(preset.targeted),
        target_class=preset.target_class,
        stages=(
            Stage(
                "prediction",
                sum(_steps(preset, list(rows_of(system).values()))),
                (Move((Weighted(Prediction()),), Constant(ALPHA)),),
            ),
        ),
        ranking=Ranking("prediction"),
    )


BUILDERS: Mapping[str, Callable[[Preset, System], Attack]] = MappingProxyType(
    {"adv2": _adv2, "pgd": _prediction_only, "bim": _prediction_only}
)


def preset(
    name: str,
    *,
    eps: float | str = 0.031,
    steps: tuple[int, int] | None = None,
    variant: str = "paper",
    targeted: bool = True,
    target_class: ClassRule | int | str | None = None,
    early_stop: bool | None = None,
) -> Preset:
    """The attack called ``name``: ``adv2`` (joint), ``pgd`` or ``bim`` (prediction only). See ``Preset``.

    Args:
        eps: a number, or a fraction such as ``"8/255"``.
        target_class: a rule, its name (``random``, ``least-likely``), or a class number.

    Raises:
        InputError: for a value that cannot be, or a target class where the attack is untargeted.
    """
    if target_class is not None and not targeted:
        raise InputError(f"target_class is {target_class!r}, and targeted is False: an untargeted attack has none.")
    eps = parse_eps(eps) if isinstance(eps, str) else eps
    return Preset(name.lower(), eps, steps, variant, targeted, _class_rule(target_class), early_stop)


def _class_rule(given: ClassRule | int | str | None) -> ClassRule:
    if isinstance(given, str):
        if given not in CLASS_RULES:
            raise unknown_name("target_class", given, CLASS_RULES)
        return CLASS_RULES[given]
    return GivenClass(given) if isinstance(given, int) else given or RandomClass()
