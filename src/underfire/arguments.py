"""Checks of arguments. Each raises an InputError that names the argument, its value, and what was expected."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from numbers import Real
from typing import SupportsIndex

from underfire.errors import InputError, unknown_name


def check_at_least(name: str, value: float, least: float, note: str = "") -> None:
    """Raise InputError if ``value`` is smaller than ``least``, or NaN. ``note`` follows the limit in the message."""
    if not _holds(operator.ge, value, least):
        raise InputError(f"{name} is {_shown(value)}; expected at least {least}{note}.")


def check_at_most(name: str, value: float, most: float, note: str = "") -> None:
    """Raise InputError if ``value`` is larger than ``most``, or NaN. ``note`` follows the limit in the message."""
    if not _holds(operator.le, value, most):
        raise InputError(f"{name} is {_shown(value)}; expected at most {most}{note}.")


def check_between(name: str, value: float, low: float, high: float, expected: str, ends: str = "()") -> None:
    """Raise InputError if ``value`` is no number between ``low`` and ``high``.

    Args:
        expected: what the message says was expected, such as ``a share in (0, 1)``.
        ends: whether it may be ``low`` or ``high`` itself, as intervals are written: ``()``, ``[)``, ``(]`` or ``[]``.
    """
    above, below = operator.ge if ends[0] == "[" else operator.gt, operator.le if ends[1] == "]" else operator.lt
    if not (_holds(above, value, low) and _holds(below, value, high)):
        raise InputError(f"{name} is {_shown(value)}; expected {expected}.")


def check_share(name: str, value: float) -> None:
    """Raise InputError if ``value`` is no number in [0, 1]."""
    check_between(name, value, 0, 1, "a share in [0, 1]", "[]")


def _holds(compare: Callable[[float, float], bool], value: float, limit: float) -> bool:
    """Compare two numbers. False if ``value`` is no number: texts and lists come here, too."""
    try:
        return bool(compare(value, limit))
    except (TypeError, ValueError, RuntimeError):  # also arrays and tensors of several numbers
        return False


def _shown(value: object) -> str:
    """Write a number as it is, and anything else so that its type can be seen."""
    return str(value) if isinstance(value, Real) else f"{value!r:.80}"


def whole_number(name: str, value: SupportsIndex, least: int | None = None, note: str = "") -> int:
    """Convert a whole number, also one of NumPy or torch, to a Python integer.

    Args:
        name: the argument's name.
        value: what was given for it.
        least: the smallest number that is accepted; any if None.
        note: follows the limit in the message.

    Raises:
        InputError: it is no whole number, or smaller than ``least``.
    """
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError) as error:
        limit = "" if least is None else f", at least {least}"
        raise InputError(f"{name} is {value!r:.80}; expected a whole number{limit}{note}.") from error
    if least is not None:
        check_at_least(name, number, least, note)
    return number


def check_callable(name: str, value: object, called: str) -> None:
    """Raise InputError if ``value`` is neither None nor can be called.

    Args:
        called: what it is called with, such as ``with the steps done and their number``.
    """
    if value is not None and not callable(value):
        raise InputError(f"{name} is {value!r:.80}; expected None, or a function that is called {called}.")


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
