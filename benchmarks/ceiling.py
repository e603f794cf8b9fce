"""How many times as fast several processes are on this machine if they share nothing.

Processor cores are often two threads of one core, and clocks fall when all cores are busy. So two processes rarely do
twice as much as one, whatever they run. A campaign with workers can be no faster than this.
"""

from __future__ import annotations

import multiprocessing
import queue
import time
from multiprocessing.context import SpawnProcess as Process
from multiprocessing.synchronize import Barrier
from typing import Any

PASSES = 200
"""Gradients of one batch, in each process."""
PATIENCE = 300
"""Seconds that a process waits for the others to start. Their results are waited for twice as long."""


def passes(classifier: str, barrier: Barrier, seconds: Any) -> None:
    """Take gradients of the network on one thread, once all processes are ready."""
    import torch

    from underfire.runs.inputs import InputSettings

    torch.set_num_threads(1)
    opened = InputSettings.create(data="scenes:test", classifier=classifier).open(torch.device("cpu")).classifier
    side = opened.image_size or (32, 32)
    images = torch.rand(16, opened.channels, *side, requires_grad=True)

    def gradient() -> None:
        torch.autograd.grad(opened.run(images).sum(), images)

    for _ in range(PASSES // 10):
        gradient()
    barrier.wait(timeout=PATIENCE)
    begun = time.perf_counter()
    for _ in range(PASSES):
        gradient()
    seconds.put(time.perf_counter() - begun)


def slowest(classifier: str, processes: int) -> float:
    """Return the seconds that the slowest of several processes takes."""
    context = multiprocessing.get_context("spawn")
    barrier, seconds = context.Barrier(processes), context.Queue()
    started = [context.Process(target=passes, args=(classifier, barrier, seconds)) for _ in range(processes)]
    for each in started:
        each.start()
    try:
        return max(_next(seconds, started) for _ in started)
    finally:
        for each in started:
            each.terminate()
            each.join()


def _next(seconds: Any, started: list[Process]) -> float:
    """Wait for the result of one more process.

    Raises:
        RuntimeError: a process ended with an error, or none has a result after two times ``PATIENCE``.
    """
    for _ in range(2 * PATIENCE):
        try:
            return float(seconds.get(timeout=1))
        except queue.Empty:
            if failed := [each.exitcode for each in started if each.exitcode]:
                raise RuntimeError(f"a process ended with exit code {failed[0]}; its output says why") from None
    raise RuntimeError(f"no process had a result after {2 * PATIENCE} seconds")


def ceiling(classifier: str, processes: int) -> float:
    """Return how many times as many gradients several processes take as one, in the same time."""
    return processes * slowest(classifier, 1) / slowest(classifier, processes)
