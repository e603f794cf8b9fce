"""The contract of engines, and the order in which units may be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from underfire.campaigns.units import Failure, Hands, Unit

Done = Callable[[Unit, Failure | None], None]
"""Hears of each unit when it is done, with the reason if it failed."""


class Stop:
    """A request to stop: units that are being done are finished, and no further one is begun."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        """Stop after the units in hand."""
        self.asked = True


class Engine(Protocol):
    """Does units of work. Results do not depend on the engine."""

    def perform(self, units: Sequence[Unit], done: Done, stop: Stop, hands: Hands) -> None:
        """Do all units, in any order in which a unit comes after those that it waits for.

        Args:
            units: what is to be done.
            done: called in this process after each unit. It may ask ``stop``.
            stop: asked for when no further unit shall begin.
            hands: the runs that this process has begun.
        """


class Queue:
    """The units that are still to be done.

    A unit is ready if those that it waits for are done, failed or not. Units of runs that are ``dropped`` are left out.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self._waiting = {unit.number: unit for unit in units}
        self._open = set(self._waiting)

    def take(self) -> Unit | None:
        """Take the first unit that is ready; None if there is none now."""
        for number, unit in self._waiting.items():
            if not self._open.intersection(unit.after):
                del self._waiting[number]
                return unit
        return None

    def put_back(self, unit: Unit) -> None:
        """Give a unit back that was not done, to be taken next."""
        self._waiting = {unit.number: unit, **self._waiting}

    def finish(self, unit: Unit) -> None:
        """Note that a unit is done."""
        self._open.discard(unit.number)

    def drop(self, run: str) -> list[Unit]:
        """Leave out the units of a run that has failed. Returns them."""
        gone = [unit for unit in self._waiting.values() if unit.run == run]
        for unit in gone:
            del self._waiting[unit.number]
            self._open.discard(unit.number)
        return gone

    def __len__(self) -> int:
        return len(self._waiting)
