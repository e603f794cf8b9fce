"""Class names and labels: their order, and the checks that every source of images needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Larger than any classifier's head by far: what exceeds it is an id or a timestamp in the wrong column.
MOST_CLASSES = 1_000_000


def is_number(name: str) -> bool:
    """Whether ``name`` consists of the digits 0-9 only."""
    return name.isascii() and name.isdecimal()


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct ``names`` sorted; by value (0, 1, 2, 10) where *all* are numbers, else by code points.

    Sorted as text, folders 0..999 would come as 0, 1, 10, 100, and their labels be permuted without a word.
    """
    distinct = sorted(set(names))
    return tuple(sorted(distinct, key=int)) if all(map(is_number, distinct)) else tuple(distinct)


def numbered(labels: Sequence[int]) -> tuple[str, ...]:
    """Class names ``0 .. max(labels)`` for labels that have no names."""
    return tuple(str(label) for label in range(max(labels) + 1))


def label_problem(label: int, class_count: int | None) -> str | None:
    """What is wrong with ``label`` among ``class_count`` classes (None: not known), or None if nothing."""
    if label < 0:
        return f"label {label} is negative; expected 0 or more: -1 often marks images without a label"
    if class_count is None and label >= MOST_CLASSES:
        return f"label {label} is no class number; expected less than {MOST_CLASSES:,}"
    if class_count is not None and label >= class_count:
        return f"label {label} has no class name; expected 0 to {class_count - 1}, by the number of names"
    return None
