"""Classes as texts, in a column of a table: numbers of classes, or their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from underfire.data.classes import in_order, label_problem, numbered
from underfire.errors import DataError

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_INTEGER = re.compile(r"(-?[0-9]{1,18})(\.0*)?")


def labels_of(path: Path, rows: Sequence[tuple[int, str]]) -> tuple[list[int], tuple[str, ...]]:
    """Turn texts into labels and class names.

    Args:
        path: the table, for messages.
        rows: (line number, text) of each image.

    Returns:
        One label per image, and one name per class. Integers, also in the form ``1.0``, are the labels; names are
        numbered in sorted order.

    Raises:
        DataError: a text is empty, is no number of a class, or some are numbers and some are names.
    """
    first: dict[bool, tuple[int, str]] = {}
    for line, text in rows:
        if not text:
            raise DataError(
                f"{path}, line {line}: the label is empty; leave out of the table what has no class, or name another "
                "column with --label-column."
            )
        first.setdefault(_NUMBER.fullmatch(text) is not None, (line, text))
    if len(first) == 2:
        # If numbers were allowed among names, one typing error would renumber all classes.
        (number_line, number), (name_line, name) = first[True], first[False]
        raise DataError(
            f"{path}: the label on line {number_line} is the number {number!r}, but the label on line {name_line} is "
            f"the name {name!r}; expected only integers or only names."
        )
    if False in first:
        names = in_order(text for _, text in rows)
        position = {name: label for label, name in enumerate(names)}
        return [position[text] for _, text in rows], names
    labels = []
    for line, text in rows:
        whole = _INTEGER.fullmatch(text)
        if whole is None:
            raise DataError(f"{path}, line {line}: label {text!r} is a number, but not an integer from 0.")
        if problem := label_problem(int(whole[1]), None):
            raise DataError(f"{path}, line {line}: {problem}.")
        labels.append(int(whole[1]))
    return labels, numbered(labels)


def one_hot_labels(path: Path, rows: Sequence[tuple[int, Sequence[str]]], names: Sequence[str]) -> list[int]:
    """Turn rows of one number per class into labels: the class whose number is 1, where all others are 0.

    Args:
        path: the table, for messages.
        rows: (line number, one text per class) of each image.
        names: the class names, for messages.

    Raises:
        DataError: a row has not exactly one 1, or other values than 0 and 1.
    """
    labels = []
    for line, texts in rows:
        values = [float(text) if _NUMBER.fullmatch(text) else None for text in texts]
        ones = [place for place, value in enumerate(values) if value == 1]
        if len(ones) != 1 or any(value not in (0, 1) for value in values):
            shown = ", ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True) if text != "0")
            raise DataError(
                f"{path}, line {line}: expected a 1 for one class and a 0 for all others, found {shown or 'no 1'}. "
                "Images of several classes cannot be used."
            )
        labels.append(ones[0])
    return labels
