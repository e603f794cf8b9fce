"""A small campaign, started as a user does, for tests that kill it or let it fail."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import underfire as uf
from benchmarks.kills import children, command_line
from tests.runs.runs import process
from underfire.campaigns.engines import Engine
from underfire.campaigns.file import read_grid
from underfire.campaigns.folder import Campaign
from underfire.campaigns.running import run_campaign
from underfire.detectors import FittedDetector, fit
from underfire.runs.execution import Execution

TEXT = """
[settings]
data = "digits:test"
classifier = "digits-resnet"
attack = "adv2"
eps = "51/255"
count = 16
steps = [2, 4]

[grid]
interpreter = ["cam", "grad"]
"""
EVADING = """
[settings]
data = "digits:test"
classifier = "digits-resnet"
attack = "auto"
budget = 8
eps = "51/255"
count = 16
[[include]]
[[include]]
evade = "{}"
"""
"""Two runs on CAM, one of which evades the detector in a folder."""
EXECUTION = Execution(batch_size=4)
WAITED = 120.0
"""Seconds after which a test gives up."""


def write_campaign(folder: Path, text: str = TEXT) -> Path:
    """Write a campaign file."""
    file = folder / "campaign.toml"
    file.write_text(text)
    return file


def fit_class_map(images: int) -> FittedDetector:
    """Fit class maps for CAM on the first images."""
    system = uf.System(uf.classifiers.load("digits-resnet"), ["cam"])
    batch = uf.data.open_data("digits:train").load((16, 16), 1, range(images))
    return fit("class-map", system, batch.images[:40], batch.images[40:])


def run_inline(file: Path, folder: Path, engine: Engine | None = None) -> Campaign:
    """Run a campaign from this process."""
    return run_campaign(read_grid(file), folder, execution=EXECUTION, engine=engine)


def words(file: Path, folder: Path, *more: str) -> list[str]:
    """The words of ``underfire run``."""
    return ["run", str(file), "--out", str(folder), "--no-page", "--batch-size", "4", *more]


def start(file: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start ``underfire run`` in a process of its own."""
    return process(*words(file, folder, *more))


def wait_for(condition: Callable[[], object], running: subprocess.Popen[str] | None = None) -> None:
    """Wait until a condition holds, while a process runs."""
    begin = time.monotonic()
    while not condition():
        assert running is None or running.poll() is None, running.communicate()
        assert time.monotonic() < begin + WAITED, "waited in vain"
        time.sleep(0.01)


def kill_all(running: subprocess.Popen[str]) -> None:
    """Kill a process with all that it has started."""
    for pid in [running.pid, *children(running.pid)]:
        os.kill(pid, signal.SIGKILL)
    running.communicate()


def workers_of(pid: int) -> list[int]:
    """List the processes that do the units: those that the server of processes has started."""
    servers = [each for each in children(pid) if "forkserver" in command_line(each)]
    return [worker for server in servers for worker in children(server)]


def said(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of a process: its exit code, stdout and stderr, as words."""
    out, err = running.communicate(timeout=WAITED)
    return running.returncode, " ".join(out.split()), " ".join(err.split())
