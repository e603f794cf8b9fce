"""Results by class: the measures of an attack over the images of each true class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from underfire.attacks.measures import MEASURES
from underfire.runs.comparison import Comparison
from underfire.runs.summary import interval

BY_CLASS = ("joint_success", "joint_success_all", "success", "map_l1", "map_l1_target")
"""The measures that are given by class."""


@dataclass(frozen=True)
class ClassResult:
    """The results of one attack on the images of one true class, read by one interpreter.

    Args:
        label: the number of the true class.
        name: its name.
        n: the number of attacked images of this class.
        measures: the mean of each measure of ``BY_CLASS`` with its 95 % interval. The limits of joint success are held
            fixed: they come from the images of all classes. ``summary.json`` adds their uncertainty, these do not.
    """

    label: int
    name: str
    n: int
    measures: dict[str, dict[str, Any]]


def by_class(part: Comparison, interpreter: str) -> list[ClassResult]:
    """Compute the results of an attack for each true class that was attacked, in the order of the classes.

    Args:
        part: the attack and its controls. Joint success is decided by the limits of all images, as everywhere.
        interpreter: an interpreter that read the attack's images.
    """
    labels = part.true_classes
    columns = {name: part.column("attack", interpreter, name) for name in BY_CLASS}
    found = []
    for label in np.unique(labels).tolist():
        rows = labels == label
        measures = {name: interval(values[rows], MEASURES[name].bounds) for name, values in columns.items()}
        found.append(ClassResult(label, part.class_name(label), int(rows.sum()), measures))
    return found


def rows_by_class(parts: Sequence[Comparison]) -> list[dict[str, Any]]:
    """List the results of several attacks by class as JSON values: one for each attack, interpreter and class."""
    return [
        {
            "cell": part.cell.label,
            "attack": part.attack,
            "interpreter": interpreter,
            "label": result.label,
            "class_name": result.name,
            "n": result.n,
            **result.measures,
        }
        for part in parts
        for interpreter in part.interpreters
        for result in by_class(part, interpreter)
    ]
