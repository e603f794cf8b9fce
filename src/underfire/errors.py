"""The exceptions and warnings that underfire raises on purpose, and helpers to phrase them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UnderfireError(Exception):
    """Base of every error that underfire raises on purpose: one readable paragraph, no traceback needed."""


class InputError(UnderfireError, ValueError):
    """An argument cannot be used. Names the argument, its value, what was expected and the likely cause."""


class DataError(UnderfireError):
    """A data set is missing, empty, or holds nothing that can be read."""


class UnreadableImageError(DataError):
    """One image cannot be decoded. Runs skip it, and report it by name."""


class ClassifierError(UnderfireError):
    """The classifier does something that makes a verdict meaningless (NaN, probabilities, randomness)."""


class InterpreterError(UnderfireError):
    """The interpreter cannot be used with this classifier."""


class StoreError(UnderfireError):
    """The output folder cannot be used."""


class UnderfireWarning(UserWarning):
    """Something that a reader of the results should know."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An error for an unknown ``name``, with the nearest known one as a suggestion."""
    names = sorted(known)
    lowered = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    suggestion = f" Did you mean {lowered[near[0]]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}.{suggestion} Known: {', '.join(names)}.")
