"""The published numbers of a paper."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from underfire.campaigns.reproduce.papers import CONTROL, FILES, KEYS, NO_DEFENSE, TRAINED


@dataclass(frozen=True)
class Number:
    """One published number.

    Args:
        item: the table that it stands in.
        keys: the keys that it is about; the number holds for any value of a missing key.
        measure: the quantity.
        value: the number, rates as shares in [0, 1].
    """

    item: str
    keys: Mapping[str, str]
    measure: str
    value: float


@cache
def published(paper: str) -> tuple[Number, ...]:
    """Read the published numbers of a paper."""
    with (FILES / f"{paper}.csv").open(newline="", encoding="utf-8") as file:
        return tuple(
            Number(row["item"], {key: row[key] for key in KEYS if row.get(key)}, row["measure"], float(row["value"]))
            for row in csv.DictReader(file)
        )


def family(classifier: str) -> str:
    """Return the published classifier that stands beside one of ours: ``densenet``, or ``resnet`` for all others."""
    return "densenet" if "densenet" in classifier.lower() else "resnet"


def lookup(paper: str, item: str, measure: str, keys: Mapping[str, str]) -> float | None:
    """Find the published number beside a finding; None if there is none.

    Args:
        paper: the paper's name.
        item: the table.
        measure: the quantity.
        keys: the keys of the finding.
    """
    keys = dict(keys) | {"classifier": family(keys["classifier"])}
    if "defense" in keys:
        keys["defense"] = NO_DEFENSE if keys["defense"] in (NO_DEFENSE, CONTROL) else TRAINED
    for number in published(paper):
        same = number.item == item and number.measure == measure
        if same and all(keys.get(key) == value for key, value in number.keys.items()):
            return number.value
    return None
