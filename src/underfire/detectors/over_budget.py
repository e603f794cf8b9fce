"""Detection as a function of the attacker's budget: what is left of a detector when the same attack has more steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SAME = ("detector", "attack", "attacked_interpreters", "eps", "adaptive")
"""Attacks are the same but for their steps if they agree in these entries of ``Evaluation.rows``, and in ``setup``."""

POINT = ("run", "cell", "steps", "n", "successes", "detection", "joint_success", "triple_success")
"""The entries of one point of a course."""


@dataclass(frozen=True)
class Course:
    """One attack with several budgets, against one detector.

    Args:
        detector, attack, attacked_interpreters, eps, adaptive: as in ``Evaluation.rows``.
        points: for each budget, by growing ``steps`` (gradient steps, or queries of ``square``): the entries ``POINT``
            of ``Evaluation.rows``.
        setup: the data, and the settings of the attack but its steps and radius.
    """

    detector: str
    attack: str
    attacked_interpreters: str
    eps: float | None
    adaptive: bool | None
    points: tuple[Mapping[str, Any], ...]
    setup: Mapping[str, Any] = field(default_factory=dict)

    def told_by(self, courses: Iterable[Course]) -> dict[str, Any]:
        """Return the entries of ``setup`` that tell this course from those that agree with it in all of ``SAME``."""
        alike = [each for each in courses if all(getattr(each, name) == getattr(self, name) for name in SAME)]
        return {
            name: value for name, value in self.setup.items() if any(each.setup.get(name) != value for each in alike)
        }


def courses(rows: Iterable[Mapping[str, Any]]) -> list[Course]:
    """Group the attacks that were run with several budgets.

    Two runs with equal steps, such as those on other images, are two points. Whether the images are the same is for
    the reader to see: ``run`` and ``n`` say which they are.

    Args:
        rows: ``Evaluation.rows()``.

    Returns:
        One course for each detector and attack that has at least two different numbers of steps.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["kind"] == "attack" and row["steps"] is not None:
            key = (*(row[name] for name in SAME), json.dumps(row["setup"], sort_keys=True, default=str))
            groups.setdefault(key, []).append(row)
    found = []
    for key, members in groups.items():
        if len({row["steps"] for row in members}) > 1:
            ordered = sorted(members, key=lambda row: row["steps"])
            points = tuple({name: row[name] for name in POINT} for row in ordered)
            found.append(Course(**dict(zip(SAME, key, strict=False)), points=points, setup=members[0]["setup"]))
    return found
