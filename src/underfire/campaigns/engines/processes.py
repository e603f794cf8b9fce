"""The engine that does units in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import torch

from underfire.campaigns.engines.base import Done, Queue, Stop
from underfire.campaigns.units import Answer, Failure, Hands, Unit
from underfire.launching import end_with_parent, new_processes, take_environment

TRIES = 3
"""How often the process of a unit may die that is done alone, as when the system has no memory left."""

PAUSE = 0.5
"""Seconds between looks at whether a stop was asked for."""


@dataclass(frozen=True)
class Processes:
    """Does units in processes that share the machine: each has its part of the cores, or a GPU of its own.

    A process that dies costs the units in hand. They are begun again one at a time, so that only a unit at which its
    process dies again and again fails.

    Args:
        workers: the number of processes.
        threads: of each process; the machine's cores divided by ``workers`` if None.
    """

    workers: int
    threads: int | None = None

    def perform(self, units: Sequence[Unit], done: Done, stop: Stop, hands: Hands) -> None:
        queue, deaths, suspected = Queue(units), Counter[int](), set[int]()
        others = set(multiprocessing.active_children())
        pool, running = self._pool(), dict[Future[Answer], Unit]()
        try:
            while True:
                at_once = 1 if suspected else self.workers
                while len(running) < at_once and not stop.asked and (unit := queue.take()) is not None:
                    try:
                        running[pool.submit(_do, unit)] = unit
                    except BrokenProcessPool:  # a process has died since the last look
                        queue.put_back(unit)
                        if running:
                            break  # the units in hand were lost with it, and say so below
                        pool.shutdown(cancel_futures=True)
                        pool = self._pool()
                if not running:
                    return
                for future in wait(running, PAUSE, FIRST_COMPLETED).done:
                    unit = running.pop(future)
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):  # all of its processes are gone
                        lost = [unit, *running.values()]
                        pool.shutdown(cancel_futures=True)
                        pool, running = self._pool(), {}
                        if len(lost) == 1:  # no other unit can have been at fault
                            deaths[unit.number] += 1
                        if deaths[unit.number] < TRIES:
                            suspected.update(each.number for each in lost)
                            for each in reversed(lost):
                                queue.put_back(each)
                            break
                        failure: Failure | None = Failure(
                            f"the worker process died {TRIES} times at this part: was it out of memory?"
                        )
                    else:
                        failure = future.result().take() if error is None else Failure(str(error))
                    suspected.discard(unit.number)
                    queue.finish(unit)
                    if failure is not None:
                        suspected.difference_update(each.number for each in queue.drop(unit.run))
                    done(unit, failure)
        except BaseException:  # such as a second Ctrl-C: the units in hand are given up
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _pool(self) -> ProcessPoolExecutor:
        context = new_processes(__name__)
        devices = context.Queue()
        gpus = torch.cuda.device_count()
        for number in range(self.workers):
            devices.put(f"cuda:{number % gpus}" if gpus else None)
        threads = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        return ProcessPoolExecutor(self.workers, context, _begin, (threads, devices, dict(os.environ)))


_hands = Hands()
_device: str | None = None


def _begin(threads: int, devices: Any, environment: Mapping[str, str]) -> None:
    """Make a process ready: its cores, its GPU, and no ear for Ctrl-C, which the first process hears for all."""
    global _device
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_environment(environment)
    end_with_parent()
    torch.set_num_threads(threads)
    _device = devices.get()


def _do(unit: Unit) -> Answer:
    if _device is not None and unit.execution.device in ("auto", "cuda"):
        unit = replace(unit, execution=replace(unit.execution, device=_device))
    return _hands.answer(unit)
