"""The columns of tables: the measures to show, in their order, and their values as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from underfire.attacks.measure import Measure
from underfire.attacks.measure_table import BUILT_IN
from underfire.attacks.measures import MEASURES
from underfire.reports.account import Account

CONFIDENCE = replace(
    MEASURES["confidence"],
    name="confidence_of_successes",
    meaning=f"{MEASURES['confidence'].meaning}, over successes",
)
"""Confidence over successes only. A mean over all images would mix in the failures, and say little."""

ON_PAGE = (
    *("joint_success", "success", "map_l1", "map_l1_target", "map_iou", "map_ssim", "map_mass_inside"),
    *("map_peak_inside", "map_spearman", "ssim", "l2", CONFIDENCE.name),
)
ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}
"""An arrow for the direction that is better for the attack."""


def page_columns(account: Account) -> list[Measure]:
    """List the measures for the page's tables: first the built-in ones, then the user's own measures.

    Left out are measures without any value, and the distance to the wanted map if the wanted map is the benign map.
    """
    known = {**dict(MEASURES.items()), CONFIDENCE.name: CONFIDENCE}
    groups = [account.group(role, name) for name in account.part.interpreters for role in account.part.labels]
    skipped = {"map_l1_target"} if account.part.keeps else set()
    return [
        measure
        for measure in (*(known[name] for name in ON_PAGE), *own_measures(account))
        if measure.name not in skipped and any(_has_value(group, measure.name) for group in groups)
    ]


def own_measures(account: Account) -> list[Measure]:
    """List the measures of a run that do not come with underfire."""
    shipped = {measure.name for measure in BUILT_IN}
    return [measure for measure in account.run.measures if measure.name not in shipped]


def _has_value(group: Mapping[str, Any], name: str) -> bool:
    return name in group and group[name]["mean"] is not None


def summary_columns(accounts: Sequence[Account]) -> list[Measure]:
    """List the five measures of short tables.

    The third is the distance to the benign map, or to the wanted map if any attack wants another map. The fourth is the
    overlap with the benign map (IoU), or the share of maps that peak on the object if all data have true masks.
    """
    benign = all(account.part.keeps for account in accounts)
    masks = all(account.run.has_masks for account in accounts)
    distance, where = "map_l1" if benign else "map_l1_target", "map_peak_inside" if masks else "map_iou"
    return [MEASURES[name] for name in ("joint_success", "success", distance, where, "ssim")]


CHANCE = {"other_map": "other map", "average_map": "average map"}
"""The rows of the chance control in tables: maps that have nothing to do with the image, read against its limit."""


def chance_rows(account: Account, interpreter: str) -> list[tuple[str, Mapping[str, Any]]]:
    """List the rows of the chance control: a name, and the intervals by measure.

    Their only value stands below joint success: the share of maps that would pass if the class was reached.
    """
    found = account.chance(interpreter)
    return [(name, {"joint_success": found[key]}) for key, name in CHANCE.items()]


def as_text(interval: Mapping[str, Any] | None, digits: int, signed: bool = False) -> tuple[str, str, str] | None:
    """Format an interval as (mean, low, high); None if no image has a value.

    Args:
        interval: keys ``mean``, ``low`` and ``high``; None gives None.
        digits: the number of digits after the point.
        signed: write a plus before positive numbers.
    """
    if interval is None or interval["mean"] is None:
        return None
    sign = "+" if signed else ""
    # Adding 0.0 turns -0.0 into 0.0.
    mean, low, high = (f"{round(interval[key], digits) + 0.0:{sign}.{digits}f}" for key in ("mean", "low", "high"))
    return mean, low, high


def legend(measures: Sequence[Measure]) -> str:
    """Explain columns in one line of text: each heading with its meaning."""
    return "; ".join(f"{measure.heading}: {measure.meaning}" for measure in measures)
