"""The published schedules, as rows: one for each perturbation and family of interpreters.

Sources: [ADV2] section 4.1, [EDGE] section 4, and their published experiments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from underfire.attacks.guards import MarginGuard
from underfire.attacks.rules import Adam, Rule, Sign, UnitRMS
from underfire.attacks.schedule import Constant, Linear, Move, Phases, Weight, Weighted

ALPHA = 1 / 255
"""The step of PGD, in pixels in [0, 1]."""


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
    """The published schedule for one perturbation and one family of interpreters.

    ``weight`` and ``reduction`` are of the interpretation term. ``prediction`` weighs the prediction term, ``loss``,
    ``kappa`` and ``smoothing`` (what it leaves to other classes) are its own, and ``confidence`` is the probability
    beyond which iterates rank first. ``penalty`` weighs the perturbation's cost, ``presence`` what the interpreters add
    beyond their maps. ``rule`` and ``size`` are of the moves; ``moves`` splits the joint step in two. ``rests`` says
    whether the weight stands still at last, so that an image which has come to rest gains nothing by staying, and
    ``stop_after`` the share of the joint stage that every image runs in any case.
    """

    warmup: int
    joint: int
    weight: Weight
    reduction: Literal["mean", "sum"] = "mean"
    prediction: float = 1.0
    loss: Literal["cross_entropy", "margin"] = "cross_entropy"
    kappa: float = math.inf
    smoothing: float = 0.0
    confidence: float | None = None
    penalty: float = 0.0
    presence: float = 0.0
    rule: Rule = field(default_factory=Sign)
    size: float = ALPHA
    moves: TwoMoves | None = None
    rests: bool = False
    stop_after: float = 0.5


STRETCH = 4.0
"""How much larger the steps of short schedules become at most. On 8 CIFAR-10 images and 75 joint steps, the maps of
MASK end 0.16 from their targets with steps four times as large, and 0.23 with the published ones."""

_RMS = 1 / math.sqrt(3 * 224 * 224)
"""The root mean square of an L2 step of 1 on the images of the published experiments."""

_MASK_MOVES = TwoMoves(0.05 * _RMS, Phases((0.08 * _RMS, 0.04 * _RMS), (900, 100)))
_LENGTHS = (301, 201, 101, 101)
_GROWING = Linear(5.0, 10.0)

PGD_ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "grad": Row(
            300,
            704,
            Phases((0.001, 0.004, 0.01, 0.05), _LENGTHS),
            "sum",
            smoothing=0.05,
            confidence=0.8,
            rests=True,
            stop_after=0.86,
        ),
        "cam": Row(400, 1200, _GROWING),
        "rts": Row(300, 1000, _GROWING, presence=1.0),
        "mask": Row(400, 1000, _GROWING, loss="margin", moves=_MASK_MOVES),
    }
)

_ADAM = Row(0, 0, _GROWING, prediction=2.0, rule=Adam(), size=0.01)
_ADAM_GRAD = replace(_ADAM, weight=Phases((0.003, 0.01, 0.05, 0.2), _LENGTHS), reduction="sum", confidence=0.75)
_ADAM_MASK = replace(_ADAM, weight=Constant(500.0), prediction=1.0, loss="margin", kappa=5.0, size=0.005)

CW_ROWS: Mapping[str, Row] = MappingProxyType(
    {
        family: replace(row, penalty=1.0)
        for family, row in {
            "grad": replace(_ADAM_GRAD, warmup=450, joint=704),
            "cam": replace(_ADAM, warmup=300, joint=1500),
            "rts": replace(_ADAM, warmup=300, joint=1000, presence=1.0),
            "mask": replace(_ADAM_MASK, warmup=400, joint=1000),
        }.items()
    }
)

TAU = 5e-4
"""What a flow's roughness costs ([ADV2] section 4.1)."""

STADV_ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "grad": replace(_ADAM_GRAD, warmup=450, joint=704, penalty=TAU),
        "cam": replace(_ADAM, warmup=200, joint=600, penalty=TAU),
        "rts": replace(_ADAM, warmup=200, joint=600, penalty=TAU, presence=1.0),
        "mask": replace(_ADAM_MASK, warmup=400, joint=1000, penalty=0.004),
    }
)

ROWS: Mapping[str, Mapping[str, Row]] = MappingProxyType(
    {"pgd": PGD_ROWS, "bim": PGD_ROWS, "cw": CW_ROWS, "stadv": STADV_ROWS}
)
"""By perturbation, then by family of interpreters."""
