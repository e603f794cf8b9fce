"""Times on a GPU, or with any other clock: contestants take turns, and medians count."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

Call = Callable[[], object]


class Clock(Protocol):
    """Takes marks, and tells the seconds between two of them."""

    def mark(self) -> Any: ...
    def seconds(self, begin: Any, end: Any) -> float: ...


class HostClock:
    """The processor's clock, for work that is done when a call returns."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        return end - begin


class CudaClock:
    """A GPU's clock: marks are events in the queue of its work, so that nothing waits until a time is read."""

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
        end.synchronize()
        return begin.elapsed_time(end) / 1000


def clock_of(device: torch.device) -> Clock:
    return CudaClock() if device.type == "cuda" else HostClock()


def time_of(call: Call, clock: Clock, calls: int = 1) -> float:
    """Measure the seconds of one call, as the mean over ``calls`` calls in a row."""
    begin = clock.mark()
    for _ in range(calls):
        call()
    return clock.seconds(begin, clock.mark()) / calls


def take_turns(contestants: Mapping[str, Callable[[], float]], turns: int, warm: int = 1) -> dict[str, list[float]]:
    """Let contestants measure themselves in turn. Returns their seconds without the ``warm`` first turns.

    Args:
        contestants: functions that do the work and return its seconds, by name.
    """
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warm + turns):
        for name, measure in contestants.items():
            seconds = measure()
            if turn >= warm:
                found[name].append(seconds)
    return found


def ratio(times: Mapping[str, Sequence[float]], first: str, second: str) -> dict[str, float]:
    """Compute the median over turns of first / second, its range, and the median seconds of both."""
    ratios = [one / other for one, other in zip(times[first], times[second], strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "first_seconds": statistics.median(times[first]),
        "second_seconds": statistics.median(times[second]),
    }


class StepMarks:
    """Marks the end of each step of an attack; its ``progress`` is an attack's."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.marks: list[Any] = []

    def progress(self, _step: int, _steps: int) -> None:
        self.marks.append(self.clock.mark())

    def seconds_per_step(self, begin: int, end: int) -> float:
        """Measure the mean of the steps after step ``begin`` up to step ``end``, both counted from 1."""
        return self.clock.seconds(self.marks[begin - 1], self.marks[end - 1]) / (end - begin)
