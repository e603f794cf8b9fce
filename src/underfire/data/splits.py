"""Names of the parts of a data set: training, validation and test images."""

from __future__ import annotations

from collections.abc import Iterable

from underfire.errors import InputError

_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst", "eval", "holdout"),
}
_MEANING = {word: split for split, words in _WORDS.items() for word in words}


def is_split(name: str) -> bool:
    """Return True if ``name`` is a usual name of a part of a data set, such as ``train`` or ``Validation``."""
    return name.casefold() in _MEANING


def named_split(asked: str, names: Iterable[str], where: str) -> str:
    """Return the one of ``names`` that ``asked`` means: the same, or another word for the same split.

    Args:
        asked: the user's word.
        names: the splits that there are.
        where: the data set, for the message.

    Raises:
        InputError: there is no such split.
    """
    known = list(names)
    meaning = _MEANING.get(asked.casefold(), asked)
    for name in (asked, *known):
        if name in known and (name == asked or _MEANING.get(name.casefold()) == meaning):
            return name
    raise InputError(f"split is {asked!r}; {where} has {', '.join(known) or 'no splits'}.")
