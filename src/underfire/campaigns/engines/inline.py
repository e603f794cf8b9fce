"""The engine that does everything in the calling process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from underfire.campaigns.engines.base import Done, Queue, Stop
from underfire.campaigns.units import Hands, Unit


@dataclass(frozen=True)
class Inline:
    """Does one unit after the other, in the calling process."""

    workers = 1

    def perform(self, units: Sequence[Unit], done: Done, stop: Stop, hands: Hands) -> None:
        queue = Queue(units)
        while not stop.asked and (unit := queue.take()) is not None:
            failure = hands.do(unit)
            queue.finish(unit)
            if failure is not None:
                queue.drop(unit.run)
            done(unit, failure)
