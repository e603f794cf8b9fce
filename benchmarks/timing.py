"""Ratios of times that hold on a busy machine: the two contestants take turns in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass
class Pairs:
    """Seconds of two contestants that took turns, pair by pair."""

    first: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """The ratios first / second: median, quartiles and range; and each contestant's median seconds."""
        ratios = sorted(a / b for a, b in zip(self.first, self.second, strict=True))
        quarter = len(ratios) // 4
        return {
            "ratio": statistics.median(ratios),
            "low": ratios[0],
            "lower_quartile": ratios[quarter],
            "upper_quartile": ratios[-1 - quarter],
            "high": ratios[-1],
            "pairs": len(ratios),
            "first_seconds": statistics.median(self.first),
            "second_seconds": statistics.median(self.second),
        }


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def take_turns(first: Callable[[], object], second: Callable[[], object], pairs: int, warm: int = 1) -> Pairs:
    """``pairs`` timed turns of each, after ``warm`` turns that are not counted."""
    measured = Pairs()
    for turn in range(warm + pairs):
        times = seconds(first), seconds(second)
        if turn >= warm:
            measured.first.append(times[0])
            measured.second.append(times[1])
    return measured


def take_turns_in_steps(
    attack: Callable[[Callable[[int, int], None]], object], bare: Callable[[], object], warm: int = 2
) -> Pairs:
    """One pair per step of a running attack: after each of its steps, ``bare`` has a turn.

    Args:
        attack: runs an attack with this function as its ``progress``; what comes before its first step and
            after its last is not measured.
        warm: steps at the beginning that are not counted; at least 1, since the first includes the start.
    """
    measured, resumed = Pairs(), time.perf_counter()

    def turn(step: int, _steps: int) -> None:
        nonlocal resumed
        spent, other = time.perf_counter() - resumed, seconds(bare)
        if step > warm:
            measured.first.append(spent)
            measured.second.append(other)
        resumed = time.perf_counter()

    attack(turn)
    return measured


@dataclass
class Row:
    """One measurement: what it ran on, what it is a ratio of, its bound, and the success of who took part."""

    network: str
    measured: str
    pairs: Pairs | None = None
    at_most: float | None = None
    at_least: float | None = None
    success: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def values(self) -> dict[str, object]:
        """Everything, for a JSON file."""
        found: dict[str, object] = {"network": self.network, "measured": self.measured, "note": self.note}
        if self.pairs is None:
            return found
        summary = self.pairs.summary()
        bounds = {"at_most": self.at_most, "at_least": self.at_least}
        given = {name: bound for name, bound in bounds.items() if bound is not None}
        met = (
            summary["ratio"] <= given["at_most"] if "at_most" in given else summary["ratio"] >= given.get("at_least", 0)
        )
        return found | summary | given | {"met": met if given else None, "success": dict(self.success)}

    def markdown(self) -> str:
        """The row of the table."""
        found = self.values()
        if self.pairs is None:
            return f"| {self.network} | {self.measured} | | | | | | {self.note} |"
        ratio = f"{found['ratio']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
        times = f"{found['first_seconds']:.3f} / {found['second_seconds']:.3f}"
        sign, bound = ("<=", self.at_most) if self.at_most is not None else (">=", self.at_least)
        met = "" if bound is None else f"{sign} {bound}: {'yes' if found['met'] else 'NO'}"
        success = " / ".join(f"{share:.3f}" for share in self.success.values())
        cells = (self.network, self.measured, ratio, str(found["pairs"]), met, times, success, self.note)
        return f"| {' | '.join(cells)} |"


def table(rows: Iterable[Row]) -> str:
    """A markdown table."""
    head = ("network", "measured", "ratio [min, max]", "pairs", "bound", "seconds", "success", "note")
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(row.markdown() for row in rows)])
