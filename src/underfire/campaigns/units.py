"""Units of work: one shard of one run, which any process that sees the campaign's folder can do."""

from __future__ import annotations

import traceback
import warnings
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from underfire.detectors.opening import evading_term
from underfire.errors import UnderfireError, UnderfireWarning, warn
from underfire.runs.execution import Execution
from underfire.runs.folder import read_json
from underfire.runs.opened import Opened
from underfire.runs.running import RunInHand
from underfire.runs.settings import RunConfig

HELD = 2
"""Runs that a worker keeps open for the next unit."""


@dataclass(frozen=True)
class Unit:
    """One shard of one run.

    Doing it twice does no harm: the cells that are complete are kept, and a file appears whole or not at all.

    Args:
        number: its place in the campaign.
        run: the name of its run.
        shard: the shard's number.
        config: the run's settings, as JSON values.
        folder: the run's folder, which is begun.
        execution: the settings that results do not depend on.
        siblings: folders of runs whose cells may be taken over.
        after: numbers of units that compute a cell that this one needs, too: they come first.
        steps: the number of steps of its attacks, as a measure of its length.
    """

    number: int
    run: str
    shard: int
    config: dict[str, Any] = field(repr=False, compare=False)
    folder: str = field(repr=False)
    execution: Execution = field(repr=False)
    siblings: tuple[str, ...] = field(default=(), repr=False)
    after: tuple[int, ...] = ()
    steps: int = 0


def shards_in(folder: Path) -> int:
    """Return the number of shards of the run that a folder holds; 0 if it holds none that can be read."""
    try:
        return int(read_json(folder / "run.json")["shards"])
    except (UnderfireError, KeyError, TypeError, ValueError):
        return 0


@dataclass(frozen=True)
class Failure:
    """The reason why a unit failed.

    Args:
        said: one paragraph.
        details: a traceback for errors that nobody expected; empty for others.
        error: the error itself, in the process that it was raised in.
    """

    said: str
    details: str = ""
    error: Exception | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Describe an error."""
        if isinstance(error, UnderfireError):
            return cls(str(error), error=error)
        said = " ".join(str(error).split()) or "no message"
        return cls(f"unexpected {type(error).__name__}: {said}", "".join(traceback.format_exception(error)), error)


@dataclass(frozen=True)
class Answer:
    """The answer of a worker process to a unit.

    Args:
        failure: the reason if the unit failed, without the error itself: not every error can be sent.
        warned: the texts of the warnings that were raised.
    """

    failure: Failure | None
    warned: tuple[str, ...] = ()

    def take(self) -> Failure | None:
        """Raise the warnings in this process, and return the reason if the unit failed."""
        for text in self.warned:
            warn(text)
        return self.failure


class Hands:
    """The runs that a process works on, opened when their first unit comes."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, RunInHand] = OrderedDict()
        self._opened = Opened(evading_term)

    def add(self, folder: str, hand: RunInHand) -> None:
        """Keep a run that this process has begun itself."""
        self._held[folder] = hand
        self._held.move_to_end(folder)
        while len(self._held) > HELD:
            self._held.popitem(last=False)[1].release()

    def find(self, folder: str) -> RunInHand | None:
        """Return the run in a folder if it is opened."""
        return self._held.get(folder)

    def do(self, unit: Unit) -> Failure | None:
        """Do one unit. Returns the reason if it fails; only an interruption is raised."""
        try:
            with warnings.catch_warnings():
                if unit.folder not in self._held:
                    warnings.simplefilter("ignore")  # the process that has begun the run has shown them
                    self.add(unit.folder, self._join(unit))
            self._held.move_to_end(unit.folder)
            self._held[unit.folder].attack(unit.shard)
        except Exception as error:  # everything that a user's own code raises fails this run alone
            self._held.pop(unit.folder, None)
            return Failure.of(error)
        return None

    def answer(self, unit: Unit) -> Answer:
        """Do one unit for another process, which shall show the warnings."""
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always", UnderfireWarning)
            failure = self.do(unit)
        warned = dict.fromkeys(str(each.message) for each in raised if issubclass(each.category, UnderfireWarning))
        return Answer(None if failure is None else replace(failure, error=None), tuple(warned))

    def _join(self, unit: Unit) -> RunInHand:
        config = RunConfig.from_values(unit.config)
        siblings = [Path(folder) for folder in unit.siblings]
        hand = RunInHand(config, Path(unit.folder), unit.execution, resume=True, opened=self._opened, siblings=siblings)
        hand.join()
        return hand
