"""The setting ``budget``: the number of steps of attacks that have no schedule of stages."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

from underfire.arguments import check_at_least, check_at_most
from underfire.attacks.presets.auto import BUDGET
from underfire.attacks.presets.kinds import Kind
from underfire.attacks.presets.settings import MOST_STEPS
from underfire.attacks.square import QUERIES
from underfire.errors import InputError

if TYPE_CHECKING:
    from underfire.attacks.presets.settings import AttackSettings


def budget_of(settings: AttackSettings, kind: Kind) -> int | None:
    """Settle the budget of an attack; None for attacks with a schedule.

    Raises:
        InputError: the budget is no number of steps, the attack has none, or a setting asks for steps beside it.
    """
    if not kind.has_budget:
        if settings.budget is not None:
            raise InputError.about(
                "budget",
                f"budget is {settings.budget}, and attack {settings.attack!r} has steps instead: only auto "
                "and square have a budget.",
            )
        return None
    usual = QUERIES if kind.queries else BUDGET
    budget = usual if settings.budget is None else settings.budget
    if isinstance(budget, bool) or not isinstance(budget, Integral):
        raise InputError(f"budget is {budget!r}; expected a whole number of steps, such as {usual}.")
    check_at_least("budget", budget, 1, " step")
    check_at_most("budget", budget, MOST_STEPS, " steps")
    chosen = (
        ("steps", settings.steps, None),
        ("search", settings.search, 0),
        ("edge_scope", settings.edge_scope, None),
    )
    for name, value, none in chosen:
        if value != none:
            raise InputError.about(
                name,
                f"{name} is {value}, and {settings.attack} chooses that by itself: give it a budget, such as {usual}.",
            )
    return int(budget)
