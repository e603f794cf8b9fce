"""Starting a group of processes on this machine, and ending all of them if one fails."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import torch

from underfire.errors import InputError
from underfire.processes import ProcessLostError, joined

R = TypeVar("R")

PATIENCE = 30.0
"""Seconds that are left to a process that failed to say why, once another one has lost it; and to end in order."""


@dataclass(frozen=True)
class _Ending:
    """The last words of a process: its result or its error.

    Args:
        result: what the leading process returned.
        error: why the process failed; None if it did not.
        details: the error's traceback.
        is_cause: True if it failed for a reason of its own, and not because it lost another process.
    """

    result: Any = None
    error: Exception | None = None
    details: str = ""
    is_cause: bool = False


def launch(devices: Sequence[torch.device], work: Callable[..., R], *arguments: Any) -> R:
    """Do ``work(group, *arguments)`` in one process for each device, and return the result of the leading process.

    If a process fails or is killed, all are ended. If this process is killed, they end, too.

    Args:
        devices: one for each process: different GPUs, or ``cpu`` for each. Processes on CPUs share the cores.
        work: a function of a module, because the new processes import it.
        arguments: of ``work``; they are sent to the processes.

    Raises:
        InputError: no group of processes can work on these devices.
        ProcessLostError: a process was killed.
        Exception: the error of the process that failed.
    """
    check_devices(devices)
    context = new_processes(work.__module__)
    threads = max(1, torch.get_num_threads() // len(devices))
    processes: list[Any] = []
    voices: list[Connection] = []
    with tempfile.TemporaryDirectory(prefix="underfire-") as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        try:
            for number in range(len(devices)):
                voice, own = context.Pipe()
                process = context.Process(
                    target=_do,
                    args=(own, number, tuple(devices), meeting, threads, dict(os.environ), work, arguments),
                )
                process.start()
                own.close()
                processes.append(process)
                voices.append(voice)
            endings = _endings(processes, voices, devices)
            if not any(each.error for each in endings):
                for process in processes:
                    process.join(PATIENCE)
        finally:
            for process in processes:
                process.kill()
                process.join()
    failed = [each for each in endings if each.error is not None]
    for ending in sorted(failed, key=lambda each: not each.is_cause):
        assert ending.error is not None
        raise ending.error from (RuntimeError(ending.details) if ending.details else None)
    result: R = endings[0].result
    return result


def check_devices(devices: Sequence[torch.device]) -> None:
    """Raise InputError if no group of processes can work on these devices."""
    said = ",".join(map(str, devices))
    kinds = {device.type for device in devices}
    if len(kinds) > 1 or not kinds <= {"cpu", "cuda"}:
        raise InputError(f"devices are {said!r}; expected GPUs alone, such as cuda:0,cuda:1, or cpu for each process.")
    if kinds == {"cuda"} and len(set(devices)) < len(devices):
        raise InputError(f"devices are {said!r}; expected different GPUs, one for each process.")


def new_processes(module: str) -> Any:
    """Return the context of ``multiprocessing`` that makes processes. They share nothing with this one.

    On Linux they come from a process that has imported ``module`` once for all of them: torch takes seconds.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def take_environment(environment: Mapping[str, str]) -> None:
    """Give this process the environment variables of the one that started it, as they are now.

    The process that ``new_processes`` come from has those of the time when it was started itself.
    """
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


def end_with_parent() -> None:
    """End this process as soon as the process that started it has ended, even if that one was killed."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _endings(processes: Sequence[Any], voices: Sequence[Connection], devices: Sequence[torch.device]) -> list[_Ending]:
    """Hear the endings of all processes, in their order; of some of them, if one has failed for a reason of its own."""
    found: dict[int, _Ending] = {}
    deadline: float | None = None
    while len(found) < len(voices):
        waited = [voice for place, voice in enumerate(voices) if place not in found]
        ready = wait(waited, None if deadline is None else max(0.0, deadline - time.monotonic()))
        for place, voice in enumerate(voices):
            if voice not in ready:
                continue
            try:
                ending: _Ending = voice.recv()
            except (EOFError, OSError):  # it died without a word
                processes[place].join()
                error = _killed(place, devices, processes[place].exitcode)
                found[place] = _Ending(error=error, is_cause=True)
                return list(found.values())
            with suppress(OSError):  # it was killed at this moment
                voice.send(None)
            found[place] = ending
            if ending.is_cause:
                return list(found.values())
            if ending.error is not None and deadline is None:
                deadline = time.monotonic() + PATIENCE
        if not ready:
            break
    return [found[place] for place in sorted(found)]


def _killed(place: int, devices: Sequence[torch.device], code: int) -> ProcessLostError:
    how = f"by the signal {signal.Signals(-code).name}" if code < 0 else f"with the exit code {code}"
    why = " Was the machine out of memory?" if code == -signal.SIGKILL else ""
    return ProcessLostError(
        f"process {place} of {len(devices)} (on {devices[place]}) was ended {how}, and all others with it.{why} A "
        "training goes on from its last checkpoint with --resume."
    )


def _do(
    own: Connection,
    number: int,
    devices: Sequence[torch.device],
    meeting: str,
    threads: int,
    environment: Mapping[str, str],
    work: Callable[..., Any],
    arguments: Sequence[Any],
) -> None:
    """Do the work of one process, and say how it ended. The first process hears Ctrl-C for all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_environment(environment)
    end_with_parent()
    if devices[number].type == "cpu":
        torch.set_num_threads(threads)
    try:
        with joined(number, len(devices), devices[number], meeting) as group:
            result = work(group, *arguments)
        ending = _Ending(result if number == 0 else None)
    except Exception as error:  # whatever it is: the first process raises it
        details = "".join(traceback.format_exception(error))
        ending = _Ending(None, _sendable(error), details, not isinstance(error, ProcessLostError))
    own.send(ending)
    own.recv()  # tensors can be received only as long as this process lives
    if ending.error is not None:
        os._exit(1)  # the ordinary end of a process waits for the others of its group


def _sendable(error: Exception) -> Exception:
    """Return the error itself if the first process can read it: it may not know classes of users and packages."""
    if type(error).__module__.split(".")[0] in ("underfire", "builtins", "torch"):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
