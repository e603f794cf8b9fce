"""``square`` from the settings of a preset: those that it has no use for are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from underfire.attacks.goal import Goal
from underfire.attacks.perturbations import PGD, Perturbation
from underfire.attacks.schedule import Weighted
from underfire.attacks.shaping import Uniform
from underfire.attacks.square import Square, is_plain
from underfire.errors import InputError

if TYPE_CHECKING:
    from underfire.attacks.presets.settings import AttackSettings


def check(settings: AttackSettings, made: Perturbation) -> None:
    """Raise InputError if a setting has no effect on ``square``.

    Args:
        settings: as they were given.
        made: the perturbation.
    """
    if not is_plain(made):
        raise InputError.about(
            "perturbation",
            f"perturbation is {made}, and {settings.attack} changes squares inside an L-inf ball, from the image; "
            "expected pgd with a radius alone.",
        )
    for name, fitting in (("shaping", Uniform()), ("edge_threshold", None), ("early_stop", False)):
        value = getattr(settings, name)
        if value is not None and value != fitting:
            raise InputError.about(
                name,
                f"{name} is {value!r}, and {settings.attack} changes whole squares by as much as it may, until its "
                f"budget is spent; leave {name} out.",
            )


def build(settings: AttackSettings, made: Perturbation, terms: Sequence[Weighted], rules: Mapping[str, Any]) -> Square:
    """Make the attack.

    Args:
        settings: checked.
        made: the perturbation, which ``check`` has seen.
        terms: loss terms, those that evade detectors included.
        rules: the rules for target classes and target maps.
    """
    assert isinstance(made, PGD)
    assert settings.budget is not None
    return Square(settings.budget, made, Goal(settings.targeted), terms=tuple(terms), **rules)
