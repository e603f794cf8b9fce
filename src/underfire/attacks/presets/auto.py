"""``auto``: a joint attack whose only setting is a budget of steps.

The published schedules have a fixed weight for each interpreter and equal steps. ``auto`` has one stage without a
warm-up. Each image has a price on prediction, which falls while the goal is met; steps follow a momentum and shrink
along a cosine; and the distance of a map counts as a share of itself, so that no weight is needed. docs/auto.md says
what else was tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from underfire.attacks.perturbations import Perturbation
from underfire.attacks.pricing import Pricing
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.rows import Row
from underfire.attacks.schedule import Move, Stage, Weighted
from underfire.attacks.terms import Interpretation, Penalty, Prediction, Presence

if TYPE_CHECKING:
    from underfire.attacks.presets.settings import AttackSettings

BUDGET = 200
"""The steps of ``auto`` if nothing else is asked for."""

COST = 6.0
"""The factor of the published weight of a perturbation's own cost.

A map's relative distance weighs more than the published squares, so that C&W and StAdv would pay for nearer maps with
larger changes. With this factor C&W's changes are as large as ADV2's by C&W."""

PRESENCE = 0.1
"""The factor of the published weight of what an interpreter adds beyond its map: of RTS alone.

RTS's encoder may be another network than the classifier. While that network does not see the target class, the map is
dark everywhere and hardly has a gradient, and the attack would be stuck with the dark map."""

REFRESHES = 8
"""The number of times that MASK's map is solved afresh at least. Images at these steps are kept rather than others."""


def parts(
    perturbation: Perturbation, rows: Mapping[str, Row], settings: AttackSettings, terms: tuple[Weighted, ...]
) -> tuple[Perturbation, dict[str, Any]]:
    """Make the perturbation of ``auto``, and its stage, pricing and ranking.

    Args:
        perturbation: the perturbation, complete.
        rows: the published schedule of each attacked interpreter. Only two weights are taken from them: of the
            perturbation's own cost, and of what the interpreter adds beyond its map.
        settings: the settings of the attack.
        terms: more loss terms.
    """
    moved, rule, size = perturbation.for_auto()
    maps = [Weighted(Interpretation("relative", name)) for name in rows]
    cost = COST * max(row.penalty for row in rows.values())
    penalty = (Weighted(Penalty(), cost),) if cost else ()
    seen = PRESENCE * max(row.presence for row in rows.values())
    presence = (Weighted(Presence(), seen),) if seen else ()
    move = Move((Weighted(Prediction(), priced=True), *maps, *presence, *penalty, *terms), size, rule)
    assert settings.budget is not None
    return moved, {
        "stages": (Stage("joint", settings.budget, (move,), refreshes=REFRESHES),),
        "pricing": Pricing(),
        "ranking": Ranking("map"),
        "early_stop": EarlyStop() if settings.early_stop else None,
    }
