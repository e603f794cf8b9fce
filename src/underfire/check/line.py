"""One line of a check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class CheckLine:
    """One line of a check.

    Args:
        topic: the part of the check, such as ``accuracy``.
        state: ``problem`` if an attack cannot run, or would mean nothing; ``hint`` if something looks wrong; ``good``.
        text: the result in words.
        details: the result as values for JSON.
    """

    topic: str
    state: Literal["good", "hint", "problem"]
    text: str
    details: dict[str, Any] = field(default_factory=dict)
