"""Extra loss terms of a preset, from what a user gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from underfire.attacks.schedule import Weighted
from underfire.attacks.terms import TERMS
from underfire.errors import InputError


def weighted(terms: Any) -> tuple[Weighted, ...]:
    """Turn names, names with weights, and ``Weighted`` objects into ``Weighted`` objects."""
    if isinstance(terms, Mapping):
        terms = [Weighted(TERMS.find(name), weight) for name, weight in terms.items()]
    if isinstance(terms, str | Weighted):
        terms = [terms]
    if not isinstance(terms, Iterable):
        raise InputError(f"terms is {terms!r:.80}; expected names of terms, NAME=WEIGHT, or Weighted(term, weight).")
    made = []
    for each in terms:
        if isinstance(each, str):
            name, equals, weight = each.rpartition("=")
            if not equals or ":" in weight:  # the sign belongs to the path of a file
                name, weight = each, ""
            try:
                each = Weighted(TERMS.find(name), float(weight) if weight else 1.0)
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"terms holds {each!r}; expected NAME or NAME=WEIGHT, such as penalty=0.5.") from error
        if not isinstance(each, Weighted):
            raise InputError(
                f"terms holds an object of type {type(each).__name__}; expected a name, or Weighted(term, weight)."
            )
        made.append(each)
    return tuple(made)
