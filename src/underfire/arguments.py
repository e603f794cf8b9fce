"""Checks of arguments. Each raises an InputError that names the argument, its value, and what was expected."""

from __future__ import annotations

from collections.abc import Collection

from underfire.errors import InputError, unknown_name


def check_at_least(name: str, value: float, least: float, note: str = "") -> None:
    """Raise InputError if ``value`` is smaller than ``least``, or NaN. ``note`` follows the limit in the message."""
    if not value >= least:
        raise InputError(f"{name} is {value}; expected at least {least}{note}.")


def check_at_most(name: str, value: float, most: float, note: str = "") -> None:
    """Raise InputError if ``value`` is larger than ``most``, or NaN. ``note`` follows the limit in the message."""
    if not value <= most:
        raise InputError(f"{name} is {value}; expected at most {most}{note}.")


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raise InputError if ``value`` is none of a few ``choices``, which the message lists all."""
    if value not in choices:
        *first, last = (repr(choice) for choice in choices)
        raise InputError(f"{name} is {value!r}; expected {', '.join(first)} or {last}.")


def check_known(kind: str, name: str, known: Collection[str]) -> None:
    """Raise InputError if ``name`` is none of the ``known`` names, and suggest the nearest; see ``unknown_name``.

    Args:
        kind: what is named, such as ``recipe``.
    """
    if name not in known:
        raise unknown_name(kind, name, known)
