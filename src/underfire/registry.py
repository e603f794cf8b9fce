"""Registries: the known parts of one kind, by name.

A part comes from one of three places: it ships with underfire, an installed package offers it as an entry point, or
the user names it as ``file.py:name``. All three work wherever a name is accepted, on the command line and in Python.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from underfire import user_files
from underfire.errors import InputError, UnderfireError, UserCodeError, unknown_name, warn
from underfire.text import with_article
from underfire.user_parts import check_name, shown

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """The parts of one kind, by name. As a mapping it holds the shipped parts, and those of installed packages.

    Args:
        kind: what one part is called in messages and in Python settings, such as ``perturbation``.
        group: the entry point group of packages that offer more, such as ``underfire.perturbations``.
        parts: what ships, by name.
        accept: turn an object that a package or a file offers into a part; raises TypeError or ValueError with what was
            expected, such as "expected a subclass of Perturbation", if it is none.
    """

    def __init__(self, kind: str, group: str, parts: Mapping[str, T], accept: Callable[[Any], T]) -> None:
        self.kind = kind
        self.group = group
        self._parts = dict(parts)
        self._accept = accept

    def __getitem__(self, name: str) -> T:
        if name in self._parts:
            return self._parts[name]
        found = self._offered().get(name)
        if found is None:
            raise KeyError(name)
        try:
            part = found.load()
        except Exception as error:  # code of an installed package, which may raise anything
            raise UserCodeError(
                f"{self.kind} {name!r} is the entry point {found.value} of an installed package, which cannot be "
                f"loaded: {type(error).__name__}: {error}"
            ) from error
        return self._accepted(part, f"entry point {found.value}")

    def __contains__(self, name: object) -> bool:
        return name in self._parts or name in self._offered()

    def items(self) -> ItemsView[str, T]:
        """Return all parts with their names. Parts of packages that cannot be used are left out, with a warning."""
        found = dict(self._parts)
        for name in self:
            with left_out(f"{self.kind} {name!r}"):
                found[name] = self[name]
        return found.items()

    def values(self) -> ValuesView[T]:
        """Return all parts; see ``items``."""
        return dict(self.items()).values()

    def __iter__(self) -> Iterator[str]:
        yield from self._parts
        yield from (name for name in self._offered() if name not in self._parts)

    def __len__(self) -> int:
        return len({*self._parts, *self._offered()})

    def find(self, name: Any) -> T:
        """Return the part called ``name``: a known name in any case of letters, or ``file.py:name``.

        An object that is no text is the part itself, and is checked like the objects that files offer.

        Raises:
            InputError: there is no such part, or the file offers something else; the message has the nearest name.
            UserCodeError: code of the user's file or of the package raises an error.
        """
        if not isinstance(name, str):
            return self._accepted(name, "")
        own = user_files.split(name)
        if own is not None:
            return self._accepted(user_files.load(*own, self.kind), name)
        for spelled in (name, name.lower()):
            if spelled in self:
                return self[spelled]
        raise unknown_name(self.kind, name, self)

    def _offered(self) -> dict[str, Any]:
        return _offers(entry_points, self.group, tuple(sys.path))

    def _accepted(self, value: Any, source: str) -> T:
        try:
            return self._accept(value)
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            what = f"{source!r}, which is {shown(value)}" if source else shown(value)
            raise InputError(f"{self.kind} is {what}; {error}.") from error


@lru_cache
def _offers(find: Callable[..., Iterable[EntryPoint]], group: str, path: tuple[str, ...]) -> dict[str, Any]:
    """Find the entry points of a group by name. The search is slow, and depends on the places where Python looks."""
    return {point.name: point for point in find(group=group)}


@contextmanager
def left_out(what: str) -> Iterator[None]:
    """Context that turns an error of a part into a warning, so that one broken package does not stop all others."""
    try:
        yield
    except UnderfireError as error:
        warn(f"{what} cannot be used and is left out: {error}")


def makers_of(base: Any) -> Callable[[Any], Any]:
    """Make the ``accept`` of a registry of classes, and of functions that make an object.

    It takes a class or function without arguments that makes an instance of ``base``, or such an instance. What a
    function returns is checked when it is called.
    """

    def accept(value: Any) -> Any:
        if isinstance(value, base):
            return lambda: value
        if not callable(value):
            name = base.__name__
            raise TypeError(f"expected a subclass of {name}, an instance of one, or a function that returns one")
        return value

    return accept


def instances_of(base: Any, called: str) -> Callable[[Any], Any]:
    """Make the ``accept`` of a registry of objects.

    It takes an instance of ``base``, or a class or function without arguments that makes one.
    """

    def accept(value: Any) -> Any:
        if not isinstance(value, base) and callable(value):
            try:
                value = value()
            except UnderfireError:
                raise
            except Exception as error:  # a user's own class or function, which may raise anything
                raise UserCodeError(f"{called} cannot be made: {type(error).__name__}: {error}") from error
        if not isinstance(value, base):
            raise TypeError(f"expected {with_article(base.__name__)}, or a function that returns one")
        check_name(value, called)
        return value

    return accept
