"""Load a name from a user's Python file: ``file.py:name``."""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import PathEntryFinder
from pathlib import Path
from types import CodeType
from typing import Any

from underfire.errors import InputError, UnderfireError, UserCodeError, unknown_name

INSTALLED = {"site-packages", "dist-packages"}
MODULE = "underfire_user_"
"""The beginning of the names of the modules that users' files become."""
_BROUGHT: set[str] = set()
"""Modules that the last loaded file imported from its own folder."""


def split(text: str) -> tuple[str, str] | None:
    """Split ``file.py:name`` into file and name; None if ``text`` has another form."""
    file, colon, name = text.rpartition(":")
    return (file, name) if colon and name and file.endswith(".py") else None


def named_in(text: str) -> list[tuple[str, str]]:
    """Find the files that ``text`` names as ``file.py:name``, by itself or inside of another name.

    Such names are ``rts:file.py:function`` and ``ensemble:cam+file.py:Mine``. Only files that exist are found.

    Returns:
        File and name of each.
    """
    own = split(text)
    if own is not None and _exists(own[0]):
        return [own]
    found = []
    for match in re.finditer(r"\.py:([^:+]+)", text):
        end = match.start() + len(".py")
        starts = [0, *(place + 1 for place in range(end) if text[place] in ":+")]
        file = next((text[start:end] for start in starts if _exists(text[start:end])), None)
        if file is not None:
            found.append((file, match[1]))
    return found


def _exists(file: str) -> bool:
    return os.path.isfile(Path(file).expanduser())


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Context in which code can import modules from ``folder``, as a script in that folder can.

    Modules that the previous file brought in are forgotten first, because this file may import another module of the
    same name. Installed packages stay. Modules from ``folder`` are run from their source: see ``_FromSource``.
    What a function imports when it is called later is found as Python finds it.
    """
    for name in _BROUGHT:
        sys.modules.pop(name, None)
    _BROUGHT.clear()

    def own(place: Path) -> bool:
        return place.is_relative_to(folder) and not INSTALLED & {*place.parts}

    def finder(entry: str) -> PathEntryFinder:
        if not own(Path(entry).resolve()):
            raise ImportError  # so says a hook that it leaves a folder to the others
        return hook(entry)

    hook = importlib.machinery.FileFinder.path_hook(
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
        (_FromSource, importlib.machinery.SOURCE_SUFFIXES),
        (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
    )
    known, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(folder))
    sys.path_hooks.insert(0, finder)
    try:
        _forget_finders(own)
        yield
    finally:
        sys.path[:] = path
        sys.path_hooks.remove(finder)
        _forget_finders(own)
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and own(Path(file).resolve()):
                _BROUGHT.add(name)


def _forget_finders(own: Callable[[Path], bool]) -> None:
    """Make Python ask its hooks anew who finds modules in the folders of the user."""
    for entry in list(sys.path_importer_cache):  # other threads may import something meanwhile
        if own(Path(entry).resolve()):
            sys.path_importer_cache.pop(entry, None)


class _FromSource(importlib.machinery.SourceFileLoader):
    """Runs the file as it is now.

    Python takes bytecode that it kept for that of a file of the same size that was changed in the same second. Then a
    file that was just edited would be recorded with its new fingerprint, and run as it was before.
    """

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def load(file: str, name: str, kind: str, *, call: bool = False) -> Any:
    """Run ``file`` and return its attribute ``name``.

    Args:
        kind: what the user asked for, such as ``classifier``; error messages begin with it.
        call: call what was found, without arguments, and return the result.

    Raises:
        InputError: there is no such file, or it defines no such name.
        UserCodeError: the file, or the call, raises an error.
        UnderfireError: the file, or the call, gives underfire something that it refuses; raised as it is.
    """
    path = Path(file).expanduser()
    if not _exists(file):
        raise InputError(f"{kind} file {file!r} does not exist (looked in {Path.cwd()}).")
    # The module's name is made from the whole path, so that two files with one name do not replace each other.
    name_of_path = hashlib.sha256(str(path.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    loader = _FromSource(f"{MODULE}{name_of_path}", str(path.absolute()))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with importing_from(path.resolve().parent):
        try:
            loader.exec_module(module)
        except UnderfireError:
            raise
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
        except UnderfireError:
            raise
        except (Exception, SystemExit) as error:
            raise UserCodeError(f"{file}:{name} failed: {type(error).__name__}: {error}") from error


def fingerprint(file: str) -> str:
    """Hash a user's file together with the modules in its folder that it imports: SHA-256, as hexadecimal digits."""
    first = Path(file).expanduser().resolve()
    files = [first]
    for path in files:  # grows: modules may import more modules
        files += [other for other in dict.fromkeys(_imported(path, first.parent)) if other not in files]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """Yield the files below ``root`` that a file imports by name; a file that is no Python code imports none."""
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            names, base = [alias.name for alias in node.names], root
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = [f"{module}.{alias.name}".strip(".") for alias in node.names]
            base = path.parents[node.level - 1] if node.level else root
        else:
            continue
        for parts in (name.split(".") for name in names):
            for depth in range(1, len(parts) + 1):
                place = base.joinpath(*parts[:depth])
                yield from (
                    each for each in (place.with_name(f"{place.name}.py"), place / "__init__.py") if each.is_file()
                )
