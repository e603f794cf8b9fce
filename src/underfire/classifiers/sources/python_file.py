"""``file.py:function``: whatever a user's own code builds."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from underfire.classifiers.classifier import Classifier
from underfire.classifiers.sources.options import Source
from underfire.errors import ClassifierError, InputError, unknown_name

INSTALLED = {"site-packages", "dist-packages"}
_BROUGHT: set[str] = set()
"""Modules that the file loaded last imported from its own folder."""


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """What lies in ``folder`` can be imported, as if a file of it were run. What the file before brought in is
    forgotten, since this one may import another module of the same name; installed packages are not."""
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


def build(file: str, function: str) -> Classifier | Source:
    """What ``function`` of ``file`` returns, called without arguments."""
    path = Path(file)
    if not path.is_file():
        raise InputError(f"classifier file {file!r} does not exist (looked in {Path.cwd()}).")
    module_spec = importlib.util.spec_from_file_location(f"underfire_user_{path.stem}", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    with _beside(path.resolve().parent):
        try:
            module_spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise ClassifierError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
        if not hasattr(module, function):
            found = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
            raise unknown_name(f"function of {file}", function, found)
        try:
            built = getattr(module, function)()
        except (Exception, SystemExit) as error:
            raise ClassifierError(f"{file}:{function} failed: {type(error).__name__}: {error}") from error
    if isinstance(built, Classifier):
        return built
    if not isinstance(built, nn.Module):
        raise ClassifierError(
            f"{file}:{function} returned an object of type {type(built).__name__}; expected an underfire.Classifier or "
            "an nn.Module."
        )
    return Source(built, name=f"{path.stem}:{function}")
