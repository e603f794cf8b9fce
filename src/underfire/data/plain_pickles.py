"""Read a pickle that holds plain values and NumPy arrays only, without running any of its code.

A pickle is a program. This module does not run it, but follows the few instructions that build dictionaries, lists,
texts, numbers and arrays; every other instruction, and every other name, is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from underfire.errors import DataError

_MARK = object()


class _Array:
    """An array that is being built: its values come with a later instruction."""

    def __init__(self) -> None:
        self.values: Any = None


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a dictionary from a pickle. Byte strings, as Python 2 wrote them, become texts.

    Raises:
        DataError: the file cannot be read, holds anything but plain values and NumPy arrays, or is no dictionary.
    """
    try:
        found = _Reader().read(path.read_bytes())
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no pickle of plain values and NumPy arrays: {error}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds an object of type {type(found).__name__}; expected a dictionary.")
    return found


class _Reader:
    """A machine with a stack and a memory, as the pickle format describes it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        """Follow all instructions, and return the value that is left."""
        argument: Any
        for instruction, argument, _ in pickletools.genops(content):
            name = instruction.name
            if name == "STOP":
                return _finished(self.stack[-1])
            if name in _VALUES:
                self.stack.append(_text(argument))
            elif name in _EMPTY:
                self.stack.append(_EMPTY[name]())
            elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
                self.memory[int(argument)] = self.stack[-1]
            elif name == "MEMOIZE":
                self.memory[len(self.memory)] = self.stack[-1]
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                self.stack.append(self.memory[int(argument)])
            elif name not in ("PROTO", "FRAME"):
                self._build(name, argument)
        raise ValueError("it ends too early")

    def _build(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("GLOBAL", "STACK_GLOBAL"):
            parts = argument.split(" ") if name == "GLOBAL" else [stack.pop(-2), stack.pop()]
            stack.append(_known(" ".join(parts)))
        elif name in ("TUPLE", "LIST"):
            values = self._marked()
            stack.append(tuple(values) if name == "TUPLE" else values)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "APPEND":
            value = stack.pop()
            stack[-1].append(value)
        elif name == "APPENDS":
            values = self._marked()
            stack[-1].extend(values)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            values = self._marked() if name != "SETITEM" else [stack.pop(-2), stack.pop()]
            if name == "DICT":
                stack.append({})
            stack[-1].update(zip(values[::2], values[1::2], strict=True))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack[-1] = stack[-1](*arguments)
        elif name == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], _Array):
                _, shape, kind, by_columns, values = state
                content = values.encode("latin-1") if isinstance(values, str) else values
                array = np.frombuffer(content, kind)
                stack[-1].values = array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)
            elif isinstance(stack[-1], np.dtype) and state[1] == ">":
                raise ValueError("it holds an array with the most significant byte first")
        else:
            raise ValueError(f"the instruction {name} is not one of those for plain values")

    def _marked(self) -> list[Any]:
        """Take all values above the last mark from the stack."""
        place = len(self.stack) - 1 - [each is _MARK for each in self.stack[::-1]].index(True)
        values = self.stack[place + 1 :]
        del self.stack[place:]
        return values


_VALUES = {"NONE", "NEWTRUE", "NEWFALSE", "FLOAT", "BINFLOAT"}
_VALUES |= {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_VALUES |= {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_VALUES |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_EMPTY: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}


def _known(name: str) -> Any:
    """Return our own function for a name that pickles of arrays use. Raises ValueError for all other names."""
    known: dict[str, Any] = {
        "numpy ndarray": _Array,
        "numpy dtype": _number_type,
        "_codecs encode": lambda text, _: text,  # bytes, as Python 3 writes them in old formats
        "__builtin__ bytes": str,
    }
    for core in ("numpy.core", "numpy._core"):
        known[f"{core}.multiarray _reconstruct"] = lambda *_: _Array()
    if name not in known:
        raise ValueError(f"it names {name}, which is not needed for plain values")
    return known[name]


def _number_type(name: str, *_: Any) -> np.dtype[Any]:
    """Return a type of integers or floats. Raises ValueError for all other types."""
    found = np.dtype(name)
    if found.kind not in "iufb":
        raise ValueError(f"it holds an array of {found}")
    return found


def _text(value: Any) -> Any:
    """Turn short byte strings into texts; the bytes of arrays cannot be told from texts, and are Latin-1 texts."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _finished(value: Any) -> Any:
    """Return a value with arrays in the place of their builders."""
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict):
        return {key: _finished(each) for key, each in value.items()}
    return [_finished(each) for each in value] if isinstance(value, list) else value
