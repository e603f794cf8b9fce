"""Terms about the cost of a perturbation, and perturbations without one."""

from __future__ import annotations

from collections.abc import Iterable

from underfire.attacks.perturbations import PERTURBATIONS, Perturbation
from underfire.attacks.schedule import Weighted
from underfire.errors import InputError


def check_costs(terms: Iterable[Weighted], perturbation: Perturbation) -> None:
    """Raise InputError if a term is about the cost of a perturbation that has none: its weight would do nothing."""
    for weighted in terms:
        if weighted.term.needs_cost and not perturbation.has_cost():
            others = ", ".join(name for name, part in PERTURBATIONS.items() if part.has_cost())
            raise InputError(
                f"term {weighted.term.name!r} is the perturbation's own cost, and perturbation {perturbation.name!r} "
                f"has none: the weight would do nothing. Perturbations with a cost are {others}."
            )
