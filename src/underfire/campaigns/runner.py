"""Running a campaign: every run is begun, the shards of all runs are done by an engine, and every run is finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypedDict, Unpack

from underfire.campaigns.engines import Engine, Inline, Stop
from underfire.campaigns.units import Failure, Hands, Unit, shards_in
from underfire.detectors.opening import evading_term
from underfire.errors import StoppedError, UnderfireError
from underfire.runs.execution import Execution
from underfire.runs.opened import Opened
from underfire.runs.planning import Reporter
from underfire.runs.running import RunInHand
from underfire.runs.settings import RunConfig
from underfire.text import counted


@dataclass(frozen=True)
class Job:
    """A run that shall be made.

    Args:
        name: its name in messages.
        config: what to run.
        folder: where it is written.
        resume, overwrite: see ``run_attack``.
    """

    name: str
    config: RunConfig
    folder: Path
    resume: bool = False
    overwrite: bool = False


class Listener(Protocol):
    """Hears how jobs go on."""

    def begun(self, job: Job) -> None: ...
    def finished(self, job: Job) -> None: ...
    def failed(self, job: Job, failure: Failure) -> None: ...
    def worked(self, done: int, total: int) -> None: ...
    def reporter(self, job: Job) -> Reporter | None: ...


class Quiet:
    """A listener that does nothing."""

    def begun(self, job: Job) -> None:
        pass

    def finished(self, job: Job) -> None:
        pass

    def failed(self, job: Job, failure: Failure) -> None:
        pass

    def worked(self, done: int, total: int) -> None:
        pass

    def reporter(self, job: Job) -> Reporter | None:
        return None


@dataclass
class _Open:
    """A job that is begun: what holds its folder's lock, and the number of its units that are still to be done."""

    job: Job
    hand: RunInHand
    lock: ExitStack
    left: int = 0
    keys: list[str] = field(default_factory=list)


class How(TypedDict, total=False):
    """How jobs are done: arguments of ``perform`` and ``run_campaign``.

    Args:
        engine: does the work; the calling process if None.
        execution: the settings that results do not depend on.
        keep_going: go on with the other runs if one fails; True if not given.
        stop: asked when to stop; see ``Stop``.
        listener: hears how it goes.
        part: ``(i, n)``: do the i-th of n parts of the work, counted from 1, beside other processes that do the other
            parts in the same folders, and finish no run. Runs must be begun.
        begin_only: begin all runs, and do nothing else.
        before: called with each run that this process has begun, unless nothing is left to attack; an error of it
            ends the run.
        after: called with each finished job and its summary, such as to write its page.
    """

    engine: Engine | None
    execution: Execution | None
    keep_going: bool
    stop: Stop | None
    listener: Listener | None
    part: tuple[int, int] | None
    begin_only: bool
    before: Callable[[RunInHand], None] | None
    after: Callable[[Job, dict[str, Any]], None] | None


def perform(jobs: Sequence[Job], **how: Unpack[How]) -> dict[str, Failure]:
    """Make runs. A run that fails is told to the listener, and the other runs go on.

    Cells that several runs share, such as clean images and the prediction-only control, are computed once.

    Args:
        jobs: the runs, in the order in which they are begun.
        how: see ``How``.

    Returns:
        The failures by the job's name.

    Raises:
        StoppedError: ``stop`` was asked; the finished parts are kept.
        UnderfireError: a run failed, and ``keep_going`` is not set.
    """
    work = _Work(list(jobs), **how)
    try:
        units = work.begin()
        work.engine.perform(units, work.hear, work.stop, work.hands)
    except BaseException as error:  # also an interrupt from the keyboard; it is raised again
        work.close(error)
        raise
    work.close(None)
    if work.first is not None:
        raise work.first
    if work.stop.asked and (work.left or work.cut):
        left = "some runs are not begun" if work.cut else f"{counted(work.left, 'shard')} left to attack"
        raise StoppedError(f"stopped: {left}; everything that is finished is kept.")
    return work.failures


class _Work:
    """The state of ``perform``."""

    def __init__(self, jobs: list[Job], **how: Unpack[How]) -> None:
        unknown = how.keys() - How.__annotations__.keys()
        if unknown:
            raise TypeError(f"unknown argument {sorted(unknown)[0]!r}; expected {', '.join(How.__annotations__)}")
        self.jobs, self.engine = jobs, how.get("engine") or Inline()
        self.execution, self.keep_going = how.get("execution") or Execution(), how.get("keep_going", True)
        self.stop, self.listener = how.get("stop") or Stop(), how.get("listener") or Quiet()
        self.part, self.begin_only = how.get("part"), how.get("begin_only", False)
        self.before, self.after = how.get("before"), how.get("after")
        self.hands, self.opened = Hands(), Opened(evading_term)
        self.open: dict[str, _Open] = {}
        self.failures: dict[str, Failure] = {}
        self.first: Exception | None = None
        self.cut = False
        self.total = self.done = self.left = 0

    def begin(self) -> list[Unit]:
        """Begin all runs, and return their units."""
        units, numbers = list[Unit](), count()
        owners: dict[tuple[str, int], int] = {}
        folders = [job.folder for job in self.jobs]
        for job in self.jobs:
            if self.stop.asked:
                self.cut = True
                break
            begun = self._begin(job, [folder for folder in folders if folder != job.folder])
            if begun is None:  # its shards count in the numbers, so that parts are the same parts in every process
                for _ in range(shards_in(job.folder)):
                    next(numbers)
                continue
            hand = begun.hand
            for shard, steps in enumerate(hand.steps):
                number = next(numbers)  # complete shards count, so that parts stay the same parts
                if hand.has(shard):
                    continue
                after = {owners.setdefault((key, shard), number) for key in begun.keys} - {number}
                units.append(
                    Unit(
                        number,
                        job.name,
                        shard,
                        job.config.to_dict(),
                        str(job.folder),
                        self.execution,
                        tuple(map(str, hand.siblings)),
                        tuple(sorted(after)),
                        steps,
                    )
                )
        if self.part is not None:
            mine, parts = self.part
            chosen = {unit.number for unit in units if unit.number % parts == mine - 1}
            units = [unit for unit in units if unit.number in chosen]
        counts = Counter(unit.run for unit in units)
        for name, begun in list(self.open.items()):
            begun.left = counts[name]
            if begun.left == 0 and self.part is None and not self.begin_only:
                self._finish(begun)
        self.total, self.left = sum(unit.steps for unit in units), len(units)
        return [] if self.begin_only else units

    def _begin(self, job: Job, others: Sequence[Path]) -> _Open | None:
        """Begin one run. Returns None if it is finished already, or fails."""
        lock = ExitStack()
        try:
            hand = RunInHand(
                job.config,
                job.folder,
                self.execution,
                resume=job.resume or self.part is not None,
                overwrite=job.overwrite,
                reporter=self.listener.reporter(job),
                opened=self.opened,
                siblings=others,
            )
            if hand.finished:
                self._finished(job, hand.summary())
                return None
            if self.part is None:
                lock.enter_context(hand.working())
                hand.begin()
                if self.before is not None and not all(map(hand.has, range(len(hand.steps)))):
                    self.before(hand)
            else:
                hand.join(data=True)
        except Exception as error:  # a run that is impossible leaves the others alone
            _close(lock, error)
            self._failed(job, error)
            return None
        cells = hand.ready().plan.cells.values()
        begun = self.open[job.name] = _Open(job, hand, lock, keys=[cell.key for cell in cells])
        self.hands.add(str(job.folder), hand)
        self.listener.begun(job)
        return begun

    def hear(self, unit: Unit, failure: Failure | None) -> None:
        """Note that a unit is done; finish its run if it was the last one."""
        begun = self.open.get(unit.run)
        if begun is None:
            return
        self.done += unit.steps
        self.left -= 1
        self.listener.worked(self.done, self.total)
        if failure is not None:
            del self.open[unit.run]
            self.left -= begun.left - 1
            error = failure.error or UnderfireError(failure.said)
            _close(begun.lock, error)
            self._failed(begun.job, error, failure)
            return
        begun.left -= 1
        if begun.left == 0 and self.part is None:
            self._finish(begun)

    def _finish(self, begun: _Open) -> None:
        """Finish a run whose shards are all there."""
        del self.open[begun.job.name]
        try:
            with begun.lock:
                # If this process has attacked the last shard, the run is opened already.
                summary = (self.hands.find(str(begun.job.folder)) or begun.hand).finish()
            self._finished(begun.job, summary)
        except Exception as error:  # a page or table that cannot be made fails this run alone
            self._failed(begun.job, error)

    def _finished(self, job: Job, summary: dict[str, Any]) -> None:
        if self.after is not None:
            self.after(job, summary)
        self.listener.finished(job)

    def _failed(self, job: Job, error: Exception, failure: Failure | None = None) -> None:
        self.failures[job.name] = failure or Failure.of(error)
        self.listener.failed(job, self.failures[job.name])
        if not self.keep_going:
            self.first = self.first or error
            self.stop.ask()

    def close(self, error: BaseException | None) -> None:
        """Give the folders of unfinished runs free."""
        for begun in self.open.values():
            _close(begun.lock, error)
        self.open = {}


def _close(lock: ExitStack, error: BaseException | None) -> None:
    """Leave the contexts of a run as if ``error`` had been raised in them, without raising it again."""
    try:
        lock.__exit__(None if error is None else type(error), error, None if error is None else error.__traceback__)
    except Exception:  # also a folder that cannot be cleaned up: it must not hide why the run failed
        pass
    except BaseException as raised:  # an interrupt that came from outside is raised by the caller
        if raised is not error:
            raise
