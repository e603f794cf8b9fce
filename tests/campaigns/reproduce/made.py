"""Findings made by hand, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from underfire.campaigns.reproduce.findings import Finding
from underfire.metrics import Interval


def made(
    attack: str = "adv2",
    interpreter: str = "cam",
    values: Mapping[str, Sequence[float]] | None = None,
    *,
    classifier: str = "net",
    perturbation: str = "pgd",
    reader: str | None = None,
    beside: str | None = None,
    target_map: str = "benign",
    ids: Sequence[str] | None = None,
    intervals: Mapping[str, Interval] | None = None,
    defense: str = "",
) -> Finding:
    """Make a finding; images are called ``0``, ``1``, ..."""
    held = {name: np.asarray(numbers, dtype=float) for name, numbers in (values or {}).items()}
    count = len(next(iter(held.values()))) if held else 0
    return Finding(
        run=f"{classifier}-{interpreter}-{attack}",
        classifier=classifier,
        perturbation=perturbation,
        attack=attack,
        beside=beside or attack,
        target_map=target_map,
        interpreter=interpreter,
        reader=reader or interpreter,
        image_ids=tuple(ids or map(str, range(count))),
        values=held,
        intervals=dict(intervals or {}),
        defense=defense,
    )
