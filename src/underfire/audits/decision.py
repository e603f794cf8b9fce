"""One decision of the gate: pass, fail, or investigate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["pass", "fail", "investigate"]
Cause = Literal["limit", "doubt", "baseline", "control"]
"""The matter of a decision: the limit and the interval alone, a doubt that attacks missed something, the comparison
with an earlier audit, or a control of the gate itself."""
EXIT_CODES: dict[State, int] = {"pass": 0, "fail": 1, "investigate": 3}
"""The exit codes of ``underfire audit``. 2 is wrong usage, as everywhere."""


@dataclass(frozen=True)
class Decision:
    """The outcome of the gate for one result, or for all.

    Args:
        state: ``pass``, ``fail`` or ``investigate``.
        text: the reason in words.
        cause: what it is about.
        interpreter, eps: the result; None for all.
        needed: the number of images that would decide; None if more images would not.
    """

    state: State
    text: str
    cause: Cause = "limit"
    interpreter: str | None = None
    eps: float | None = None
    needed: int | None = None

    @property
    def exit_code(self) -> int:
        """0 for pass, 1 for fail, 3 for investigate."""
        return EXIT_CODES[self.state]

    def to_dict(self) -> dict[str, Any]:
        """Convert it to values for JSON."""
        return asdict(self)
