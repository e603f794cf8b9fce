"""The rules for all parts that a user can add (terms, rules, perturbations, ...), and calls of the user's own code."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar, cast

import torch

from underfire.errors import InputError, UnderfireError, UserCodeError
from underfire.text import with_article

T = TypeVar("T")


class Part:
    """Base class of parts. A part is a frozen dataclass; a plain class is accepted, too.

    Runs know a part by its ``repr``. That of a plain class holds the attributes, as that of a dataclass does, and no
    address in memory, which would be another one in the next process.
    """

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in sorted(vars(self).items()))
        return f"{type(self).__qualname__}({values})"


def check_part(part: Any, base: Any, argument: str) -> None:
    """Raise InputError if ``part`` is no instance of ``base``, or its name is no text or empty.

    Args:
        argument: the argument that holds the part, for messages.
    """
    if not isinstance(part, base):
        raise InputError(f"{argument} is {shown(part)}; expected {with_article(base.__name__)}.")
    check_name(part, argument)


def check_kind(value: Any, base: Any, argument: str, note: str = "") -> None:
    """Raise InputError if ``value`` is no instance of ``base``. ``note`` follows in the message."""
    if not isinstance(value, base):
        raise InputError(f"{argument} is {shown(value)}; expected {with_article(base.__name__)}{note}.")


def check_all(values: Any, base: Any, argument: str, such: str) -> tuple[Any, ...]:
    """Return ``values`` as a tuple.

    Args:
        values: several instances of ``base``, at least one.
        base: their class.
        argument: the argument that holds them, for messages.
        such: one of them, as code.

    Raises:
        InputError: they are not several, or there is none, or one is of another class.
    """
    if not isinstance(values, list | tuple):
        raise InputError(f"{argument} is {shown(values)}; expected several {base.__name__}, such as ({such},).")
    if not values:
        raise InputError(f"{argument} is empty; expected at least one {base.__name__}, such as ({such},).")
    for value in values:
        if not isinstance(value, base):
            raise InputError(f"{argument} holds {shown(value)}; expected {base.__name__}, such as {such}.")
    return tuple(values)


def shown(value: object) -> str:
    """Name the class of an object, or the class that ``value`` is, for messages."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"an object of type {type(value).__name__}"


def shape_of(value: object) -> str:
    """Name the shape of a tensor, or the class of another object, for messages."""
    return f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else shown(value)


def check_name(part: Any, argument: str) -> None:
    """Raise InputError if the name of ``part`` is no text or empty: results and messages need it."""
    name = getattr(part, "name", None)
    if not isinstance(name, str) or not name.strip():
        kind = part if isinstance(part, type) else type(part)
        raise InputError(
            f"{argument} is {with_article(kind.__name__)} with the name {name!r}; expected a text that is not empty: "
            "give its class the attribute name, such as name = 'mine'."
        )


def is_own(part: object) -> bool:
    """Return True if ``part`` is the user's own, and False if it ships with underfire."""
    module = getattr(part, "__module__", None) or ""
    return str(module).partition(".")[0] != "underfire"


def guarded(part: T, kind: str, name: str | None = None) -> T:
    """Return ``part`` so that errors in code of the user's own are UserCodeErrors that name the part.

    Parts that ship with underfire are returned as they are.

    Args:
        part: a part, or a function.
        kind: what it is, for messages, such as ``term``.
        name: its name; the attribute ``name`` if None.
    """
    return cast(T, _Guarded(part, _called(part, kind, name))) if is_own(part) else part


@contextmanager
def naming(part: object, kind: str, name: str | None = None) -> Iterator[None]:
    """Within, errors are UserCodeErrors that name ``part``, if it is the user's own. Arguments as in ``guarded``."""
    with _named(part, _called(part, kind, name)) if is_own(part) else nullcontext():
        yield


def _called(part: object, kind: str, name: str | None) -> str:
    return f"{kind} {name or getattr(part, 'name', type(part).__name__)!r}"


@contextmanager
def _named(part: object, called: str) -> Iterator[None]:
    try:
        yield
    except (UnderfireError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the user's own code may raise anything
        place = _place(error, part)
        raise UserCodeError(f"{called} fails: {type(error).__name__}: {error}{place}") from error


class _Guarded:
    """Stands for a part, and turns errors of its attributes and calls into UserCodeErrors."""

    def __init__(self, part: Any, called: str) -> None:
        self._part, self._called = part, called

    def __getattr__(self, name: str) -> Any:
        value = self._run(getattr, self._part, name)
        if not inspect.isroutine(value):
            return value
        return lambda *given, **named: self._run(value, *given, **named)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._run(self._part, *given, **named)

    def _run(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        with _named(self._part, self._called):
            return function(*given, **named)


def _place(error: Exception, part: Any) -> str:
    """Return the file and the line of the part's own code at which ``error`` was raised, if there is one."""
    own = getattr(sys.modules.get(getattr(part, "__module__", None) or ""), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    return f" ({own}, line {lines[-1]})" if lines else ""
