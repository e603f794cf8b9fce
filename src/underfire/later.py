"""Settings that came later than others of their part.

A part's ``repr`` names what results depend on, and is part of the keys by which runs know their finished work. A new
setting is left out of it while it has its default, so that runs that were begun before are resumed.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def repr_without(part: Any, *later: str) -> str:
    """Return the ``repr`` of a dataclass, without the fields ``later`` that have their default."""
    shown = [field for field in fields(part) if field.repr]
    shown = [field for field in shown if field.name not in later or getattr(part, field.name) != field.default]
    return f"{type(part).__qualname__}({', '.join(f'{each.name}={getattr(part, each.name)!r}' for each in shown)})"
