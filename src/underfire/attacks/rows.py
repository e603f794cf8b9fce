"""Rows: the published schedule for one perturbation and one family of interpreters.

Each perturbation owns its rows. Sources: [ADV2] section 4.1, [EDGE] section 4, and their published experiments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from underfire.attacks.guards import MarginGuard
from underfire.attacks.rules import Rule, Sign, UnitRMS
from underfire.attacks.schedule import Linear, Move, Phases, Weight, Weighted
from underfire.errors import InputError

ALPHA = 1 / 255
"""The step size of PGD, in pixel units."""

GROWING = Linear(5.0, 10.0)
"""The published weight of the interpretation term on CAM, RTS and MASK: it grows over the joint stage."""

LENGTHS = (301, 201, 101, 101)
"""The lengths of Grad's four published phases, in steps."""


@dataclass(frozen=True)
class TwoMoves:
    """A joint step in two moves: one on the prediction, then one on the maps ([ADV2] algorithm 1).

    Sizes are root mean squares over an image's values. The published sizes are L2 norms for 224 x 224 pixels that scale
    with the side of the image, which is the same root mean square at every size.

    Args:
        prediction: the size of the first move.
        interpretation: the largest size of the second move over the joint stage.
        guard: the condition that the second move must keep; its size is the largest that does.
    """

    prediction: float
    interpretation: Phases
    guard: MarginGuard = field(default_factory=MarginGuard)

    def moves(self, prediction: Weighted, maps: tuple[Weighted, ...], stretch: float) -> tuple[Move, ...]:
        """Make the two moves, their sizes multiplied by ``stretch``."""
        sizes = tuple(stretch * size for size in self.interpretation.values)
        return (
            Move((prediction,), stretch * self.prediction, UnitRMS()),
            Move(maps, replace(self.interpretation, values=sizes), UnitRMS(), self.guard),
        )


@dataclass(frozen=True)
class Row:
    """The schedule of an attack for one perturbation and one family of interpreters.

    Args:
        warmup: steps on the prediction alone.
        joint: steps on prediction and maps.
        weight: the weight of the interpretation term over the joint stage.
        reduction: ``mean`` or ``sum`` over a map's cells, of the interpretation term.
        prediction: the weight of the prediction term.
        loss: ``cross_entropy`` or ``margin``, of the prediction term.
        kappa: the confidence in logits beyond which the margin asks for no more.
        smoothing: the probability that label smoothing takes from the target class.
        confidence: iterates with a higher probability of the goal rank first; no such preference if None.
        penalty: the weight of the perturbation's own cost.
        presence: the weight of what interpreters add beyond their maps.
        rule: how a gradient becomes a direction.
        size: the step size, in the perturbation's unit.
        moves: two moves per joint step instead of one.
        rests: True if the weight is constant at the end of the joint stage, so that an image which no longer improves
            gains nothing by staying.
        stop_after: the share of the joint stage that every image runs, even with early stopping.
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


PARENT = "cam"
"""The family whose row serves interpreters for whose own families a perturbation has none."""


def row_for(rows: Mapping[str, Row], families: Sequence[str], perturbation: str, interpreter: str) -> Row:
    """Find the row for an interpreter: the first of its ``families`` that has one, else that of CAM.

    Args:
        rows: a perturbation's rows by family.
        families: the interpreter's family and the families it falls back to, most special first.

    Raises:
        InputError: the perturbation has a row for none of them.
    """
    for family in (*families, PARENT):
        if family in rows:
            return rows[family]
    named = f" (families {', '.join(families)})" if families else ""
    raise InputError(
        f"perturbation {perturbation!r} has no schedule for {interpreter}{named}; it has "
        f"{', '.join(rows) or 'none at all'}. Give its class a row: rows = {{'{PARENT}': Row(warmup=..., ...)}}."
    )
