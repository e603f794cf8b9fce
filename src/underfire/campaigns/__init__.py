"""The former place of ``underfire.runs``: its names still work here, and warn."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from underfire.errors import warn_deprecated

_MOVED = {
    "Reporter": "underfire.runs",
    "RunConfig": "underfire.runs",
    "run_attack": "underfire.runs",
    "parse_eps": "underfire.attacks.perturbations",
    "parse_steps": "underfire.attacks.presets.settings",
}


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module 'underfire.campaigns' has no attribute {name!r}")
    warn_deprecated(f"underfire.campaigns.{name}", f"{_MOVED[name]}.{name}")
    return getattr(import_module(_MOVED[name]), name)
