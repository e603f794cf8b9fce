"""Names of the parts of a data set: training, validation and test images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from underfire.errors import InputError

_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst", "eval", "holdout"),
}
_MEANING = {word: split for split, words in _WORDS.items() for word in words}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def is_split(name: str) -> bool:
    """Return True if ``name`` is a usual name of a part of a data set, such as ``train`` or ``Validation``."""
    return name.casefold() in _MEANING


def split_in(name: str) -> str | None:
    """Return ``train``, ``val`` or ``test`` if one word of ``name`` means it, as in ``LOC_val_solution``; else None."""
    found = {_MEANING[word] for word in _words(name) if word in _MEANING}
    return found.pop() if len(found) == 1 else None


def are_splits(names: Sequence[str]) -> bool:
    """Return True if all names are those of splits, or differ in such a word only: ``Final_Training, Final_Test``."""
    if all(map(is_split, names)):
        return True
    splits = [split_in(name) for name in names]
    others = {tuple(word for word in _words(name) if word not in _MEANING) for name in names}
    return None not in splits and len(names) > 1 and len({*splits}) == len(names) and len(others) == 1


def named_split(asked: str, names: Iterable[str], where: str) -> str:
    """Return the one of ``names`` that ``asked`` means: the same, another word for the same split, or one with it.

    Args:
        asked: the user's word.
        names: the splits that there are.
        where: the data set, for the message.

    Raises:
        InputError: there is no such split, or several names hold the word.
    """
    known = list(names)
    meaning = _MEANING.get(asked.casefold(), asked)
    for name in (asked, *known):
        if name in known and (name == asked or _MEANING.get(name.casefold()) == meaning):
            return name
    holding = [name for name in known if split_in(name) == meaning]
    if len(holding) == 1:
        return holding[0]
    if holding:
        raise InputError(
            f"split is {asked!r}, which may be any of {', '.join(holding)} of {where}; give the whole name."
        )
    raise InputError(f"split is {asked!r}; {where} has {', '.join(known) or 'no splits'}.")


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(name)]
