"""Attacks over data sets, in shards; everything measured is written down and read back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from underfire.runs.planning import Reporter
    from underfire.runs.run import Run
    from underfire.runs.running import run_attack
    from underfire.runs.settings import RunConfig

_WHERE = {"Reporter": "planning", "Run": "run", "RunConfig": "settings", "run_attack": "running"}
"""The modules of public names. They are imported when first asked for, so that a command's help is quick."""

__all__ = ["Reporter", "Run", "RunConfig", "run_attack"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'underfire.runs' has no attribute {name!r}")
    value = getattr(import_module(f"underfire.runs.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
