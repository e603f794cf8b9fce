"""The differences between two configurations, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differences(held: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the differences between two JSON objects in words, also inside nested objects."""
    changed = []
    for key in now:
        old, new = held.get(key), now[key]
        pairs = [(key, old, new)]
        if isinstance(new, dict):
            before = old if isinstance(old, dict) else {}
            pairs = [(part, before.get(part), new.get(part)) for part in new | before]
        changed += [f"{name} was {old!r}, is {new!r}" for name, old, new in pairs if old != new]
    return changed
