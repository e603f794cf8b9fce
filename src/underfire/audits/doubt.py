"""One reason to doubt the number of an audit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Topic = Literal["gradients", "search", "convergence", "images", "limit", "explanation", "labels"]


@dataclass(frozen=True)
class Doubt:
    """One reason to doubt a number.

    Args:
        topic: what it is about.
        text: the reason in words.
        hides: True if attacks may have missed something, so that robustness may be lower than the number says; False if
            the number is right and means less than it seems to.
        interpreter, eps: the result that it concerns; all if None.
    """

    topic: Topic
    text: str
    hides: bool
    interpreter: str | None = None
    eps: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert it to values for JSON."""
        return asdict(self)
