"""Load a name from a user's Python file: ``file.py:name``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from underfire.errors import InputError, UserCodeError, unknown_name

INSTALLED = {"site-packages", "dist-packages"}
_BROUGHT: set[str] = set()
"""Modules that the last loaded file imported from its own folder."""


def split(text: str) -> tuple[str, str] | None:
    """Split ``file.py:name`` into file and name; None if ``text`` has another form."""
    file, colon, name = text.rpartition(":")
    return (file, name) if colon and name and file.endswith(".py") else None


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Context in which code can import modules from ``folder``, as a script in that folder can.

    Modules that the previous file brought in are forgotten first, because this file may import another module of the
    same name. Installed packages stay.
    """
    for name in _BROUGHT:
        sys.modules.pop(name, None)
    _BROUGHT.clear()
    known, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            place = None if file is None else Path(file).resolve()
            if place is not None and place.is_relative_to(folder) and not INSTALLED & {*place.parts}:
                _BROUGHT.add(name)


def load(file: str, name: str, kind: str, *, call: bool = False) -> Any:
    """Run ``file`` and return its attribute ``name``.

    Args:
        kind: what the user asked for, such as ``classifier``; error messages begin with it.
        call: call what was found, without arguments, and return the result.

    Raises:
        InputError: there is no such file, or it defines no such name.
        UserCodeError: the file, or the call, raises an error.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise InputError(f"{kind} file {file!r} does not exist (looked in {Path.cwd()}).")
    # The module's name is made from the whole path, so that two files with one name do not replace each other.
    spec = importlib.util.spec_from_file_location(f"underfire_user_{path.stem}_{abs(hash(path.resolve()))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with importing_from(path.resolve().parent):
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise UserCodeError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
        if not hasattr(module, name):
            public = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
            raise unknown_name(f"name in {file}", name, public)
        found = getattr(module, name)
        if not call:
            return found
        try:
            return found()
        except (Exception, SystemExit) as error:
            raise UserCodeError(f"{file}:{name} failed: {type(error).__name__}: {error}") from error
