"""The engine that does units on a Ray cluster: many machines that see the same folder, and parts of GPUs."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from underfire.campaigns.engines.base import Done, Queue, Stop
from underfire.campaigns.units import Answer, Failure, Hands, Unit
from underfire.errors import InputError

TRIES = 5
"""How often a unit is begun whose worker or machine is lost."""

PAUSE = 0.5
"""Seconds between looks at whether a stop was asked for."""


@dataclass(frozen=True)
class OnRay:
    """Does units as Ray tasks. A lost worker or machine costs the units in its hands, which others begin again.

    Every machine must see the campaign's folder, the data and the user's files under the same paths, and have underfire
    installed. Fitted detectors that attacks evade travel in the campaign's folder. Results come back through the folder
    alone, so that a retry writes nothing twice.

    Args:
        address: of the cluster, or ``auto``; a cluster of this machine alone is started if None.
        workers: units at once; as many as the cluster has cores (or GPUs, divided by ``gpus``) if None.
        cpus: cores of each unit.
        gpus: GPUs of each unit, such as 0.5; one if the cluster has any and 0 if it has none, if None.

    Raises:
        InputError: ray is not installed.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float = 1
    gpus: float | None = None

    def __post_init__(self) -> None:
        _ray()  # before runs are begun

    def perform(self, units: Sequence[Unit], done: Done, stop: Stop, hands: Hands) -> None:
        ray = _ray()
        own = not ray.is_initialized()
        if own:
            _connect(ray, self.address)
        try:
            self._perform(ray, units, done, stop)
        finally:
            if own:
                ray.shutdown()

    def _perform(self, ray: Any, units: Sequence[Unit], done: Done, stop: Stop) -> None:
        gpus = self.gpus if self.gpus is not None else float(ray.cluster_resources().get("GPU", 0) > 0)
        task = ray.remote(_do).options(
            num_cpus=self.cpus, num_gpus=gpus, max_retries=TRIES - 1, runtime_env=_environment()
        )
        queue, running = Queue(units), dict[Any, Unit]()
        while True:
            while len(running) < self._at_once(ray, gpus) and not stop.asked and (unit := queue.take()) is not None:
                running[task.remote(unit, max(1, int(self.cpus)), os.getcwd())] = unit
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=PAUSE)
            for reference in ready:
                unit = running.pop(reference)
                failure = _result(ray, reference)
                queue.finish(unit)
                if failure is not None:
                    queue.drop(unit.run)
                done(unit, failure)

    def _at_once(self, ray: Any, gpus: float) -> int:
        """Return how many units run at once, by what the cluster has now: machines come and go."""
        if self.workers is not None:
            return self.workers
        has = ray.cluster_resources()
        count = has.get("GPU", 0) / gpus if gpus else has.get("CPU", 1) / self.cpus
        return max(1, int(count))


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs the package ray: pip install 'underfire[ray]'.") from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start one. Ray puts its own handler of SIGTERM in place; the former one is put back."""
    former = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"ray is {address or 'local'!r}, and no cluster answers there: {' '.join(str(error).split())[:300]}"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, former)


def _environment() -> dict[str, Any] | None:
    """Return what workers need to find underfire, if this process finds it by PYTHONPATH."""
    paths = os.environ.get("PYTHONPATH")
    return {"env_vars": {"PYTHONPATH": paths}} if paths else None


def _result(ray: Any, reference: Any) -> Failure | None:
    try:
        found: Answer = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return Failure(
            f"a Ray worker could not begin: {' '.join(str(error.cause).split())[:300]}. Is the same version of "
            "underfire installed on every machine?",
            str(error),
        )
    except ray.exceptions.RayError as error:
        return Failure(f"the Ray task was lost {TRIES} times: {' '.join(str(error).split())[:300]}")
    return found.take()


_hands = Hands()


def _do(unit: Unit, threads: int, place: str) -> Answer:
    """Do one unit in a worker of Ray. Relative paths in settings mean those of the first process, in ``place``."""
    import torch

    with suppress(OSError):  # a machine without that folder can work with absolute paths
        os.chdir(place)
    torch.set_num_threads(threads)
    return _hands.answer(unit)
