"""The order of class names, and checks of labels, for all data sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# No classifier has so many classes: a larger label is an id or a timestamp from a wrong column.
MOST_CLASSES = 1_000_000


def is_number(name: str) -> bool:
    """Return True if ``name`` consists of the digits 0-9 only."""
    return name.isascii() and name.isdecimal()


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct ``names``, sorted by value (0, 1, 2, 10) if *all* are numbers, else by code points.

    As text, folders 0..999 would be sorted as 0, 1, 10, 100, and all labels would silently be wrong.
    """
    distinct = sorted(set(names))
    return tuple(sorted(distinct, key=int)) if all(map(is_number, distinct)) else tuple(distinct)


def numbered(labels: Sequence[int]) -> tuple[str, ...]:
    """Return the class names "0" to ``max(labels)``, for labels without names."""
    return tuple(str(label) for label in range(max(labels) + 1))


def label_problem(label: int, class_count: int | None) -> str | None:
    """Describe the problem with ``label``; None if there is none. ``class_count`` is None if it is not known."""
    if label < 0:
        return f"label {label} is negative; expected 0 or more (-1 often marks images without a label: leave them out)"
    if class_count is None and label >= MOST_CLASSES:
        return f"label {label} is too large for a class number; expected less than {MOST_CLASSES:,}"
    if class_count is not None and label >= class_count:
        return f"label {label} has no class name; expected 0 to {class_count - 1}, as there are {class_count} names"
    return None
