"""Squeezers: transforms that remove detail from images, which detectors compare predictions with and without."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

from underfire import user_files
from underfire.errors import InputError, UnderfireError, UserCodeError
from underfire.registry import Registry, makers_of
from underfire.transforms.squeezers.base import Squeezer, straight_through
from underfire.transforms.squeezers.bit_depth import BitDepth
from underfire.transforms.squeezers.jpeg import JPEG
from underfire.transforms.squeezers.median import Median
from underfire.transforms.squeezers.non_local_means import NonLocalMeans
from underfire.transforms.squeezers.resize_pad import ResizePad
from underfire.user_parts import check_part

Maker = type[Squeezer] | Callable[[], Squeezer]
"""A class of squeezers, or a function without arguments that returns a squeezer."""


def _is_class(value: object) -> TypeGuard[type[Squeezer]]:
    return isinstance(value, type) and issubclass(value, Squeezer)


SQUEEZERS: Registry[Maker] = Registry(
    "squeezer",
    "underfire.squeezers",
    {kind.name: kind for kind in (BitDepth, Median, NonLocalMeans, JPEG, ResizePad)},
    makers_of(Squeezer),
)
"""Squeezers by name. ``squeezer`` makes one of a text form such as ``median:3``."""


def squeezer(given: str | Squeezer) -> Squeezer:
    """Make the squeezer of a text form, such as ``bit-depth:3``, ``median:2``, ``non-local-means:11-3-4``, ``jpeg:75``.

    A name alone stands for the default parameters. ``file.py:name`` is a squeezer of the user's own. A squeezer is
    returned as it is.

    Raises:
        InputError: there is no such squeezer, or it does not take this argument.
        UserCodeError: the user's file raises an error.
    """
    if not isinstance(given, str):
        check_part(given, Squeezer, "squeezer")
        return given
    kind, _, argument = given.partition(":")
    if user_files.split(given) is not None:
        kind, argument = given, ""
    maker = SQUEEZERS.find(kind)
    if argument and _is_class(maker):
        return maker.from_argument(argument)
    if argument:
        raise InputError(f"squeezer is {given!r}; {kind} takes nothing after a colon.")
    try:
        made: Any = maker()
    except UnderfireError:
        raise
    except Exception as error:  # a user's own class or function, which may raise anything
        raise UserCodeError(f"squeezer {given!r} cannot be made: {type(error).__name__}: {error}") from error
    check_part(made, Squeezer, f"squeezer {given!r}")
    found: Squeezer = made
    return found


def squeezers(given: Iterable[str | Squeezer] | str | Squeezer, name: str = "squeezers") -> tuple[Squeezer, ...]:
    """Make one or several squeezers; see ``squeezer``.

    Args:
        given: squeezers, or their text forms.
        name: the argument's name, for messages.

    Raises:
        InputError: as ``squeezer``; or two squeezers have the same text form, or ``given`` is something else.
    """
    given = (given,) if isinstance(given, str | Squeezer) else given
    if not isinstance(given, Iterable):
        raise InputError(f"{name} is {given!r:.80}; expected squeezers, such as ('bit-depth:3', 'median:2').")
    made = tuple(squeezer(each) for each in given)
    labels = [each.label for each in made]
    twice = [label for place, label in enumerate(labels) if label in labels[:place]]
    if twice:
        raise InputError(f"{name} holds {twice[0]!r} twice: once is enough.")
    return made


__all__ = [
    "JPEG",
    "SQUEEZERS",
    "BitDepth",
    "Median",
    "NonLocalMeans",
    "ResizePad",
    "Squeezer",
    "squeezer",
    "squeezers",
    "straight_through",
]
