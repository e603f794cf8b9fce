"""p-values of attacks against their prediction-only controls, corrected for the number of comparisons in a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from underfire import metrics
from underfire.attacks.measures import MEASURES
from underfire.metrics.statistics import Values
from underfire.runs.comparison import Comparison

PAIRED = ("success", "map_l1", "map_l1_target", "map_iou", "ssim")
"""Measures that are compared image by image, beside joint success."""

TESTED = ("joint_success", *PAIRED)
"""Measures that are tested."""

PValues = dict[tuple[str, str], dict[str, dict[str, float | None]]]
"""By the label of an attack and an interpreter that reads: for each measure, ``p`` and ``p_holm``."""


def p_values(comparisons: Sequence[Comparison]) -> PValues:
    """Test each attack of a run against the attack on the prediction alone, paired by image.

    ``p`` is that of ``metrics.sign_flip_test``. ``p_holm`` is corrected by ``metrics.holm`` for all comparisons of the
    run that look at the same measure: all its attacks (with different eps, or on different interpreters) and, for
    measures of maps, all interpreters that read. Joint success is tested with the limit as it stands; the intervals of
    joint success also hold the limit's own uncertainty.

    Args:
        comparisons: the attacks with their controls; an attack without a prediction-only control is left out.
    """
    tested = [part for part in comparisons if part.has("control")]
    found: PValues = {(part.cell.label, name): {} for part in tested for name in part.interpreters}
    for measure in TESTED:
        of_image = measure in MEASURES and MEASURES[measure].per == "image"
        family = [
            (part, name) for part in tested for name in (part.interpreters[:1] if of_image else part.interpreters)
        ]
        alone = [metrics.sign_flip_test(_difference(part, name, measure)) for part, name in family]
        corrected = metrics.holm([1.0 if p is None else p for p in alone])
        for (part, first), p, adjusted in zip(family, alone, corrected, strict=True):
            values = {"p": p, "p_holm": None if p is None else adjusted}
            for name in part.interpreters if of_image else [first]:
                found[part.cell.label, name][measure] = dict(values)
    return found


def _difference(part: Comparison, name: str, measure: str) -> Values:
    """Return attack minus control, N values."""
    attack, control = (np.asarray(part.column(role, name, measure), dtype=float) for role in ("attack", "control"))
    known: Values = (attack - control)[~np.isnan(attack - control)]
    return known
