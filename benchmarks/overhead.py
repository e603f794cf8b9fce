"""Measure what a campaign costs beyond its attacks, and what workers bring.

    python -m benchmarks.overhead [--data cifar10/test.parquet] [--classifier cifar10-resnet20] [--interpreter cam]
        [--count 32] [--steps 40,160] [--runs 2] [--workers 2]

A campaign of a few runs with different seeds attacks images by ADV2 and writes its pages, in one process. The processor
seconds inside the experiment (attacks, controls, and their maps and measures) are what the same calls in Python would
take; everything else is overhead: opening and selecting images, cells, hashes, files, tables, pages and figures. Prints
both, and the overhead's share. With ``--workers``, prints the seconds of the clock of the same campaign with one and
with several workers of one thread each, and the ratio; and the same ratio for processes that share nothing, which is
as much as the machine can give. It must have nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import wraps
from pathlib import Path
from typing import Any

from benchmarks.ceiling import ceiling

CAMPAIGN = """name = "overhead"
[settings]
data = "{data}"
classifier = "{classifier}"
interpreters = ["{interpreter}"]
attack = "adv2"
eps = "8/255"
count = {count}
steps = [{steps}]
[grid]
seed = [{seeds}]
"""


def write_campaign(asked: argparse.Namespace, folder: Path) -> Path:
    """Write the campaign's file."""
    file = folder / "campaign.toml"
    file.write_text(CAMPAIGN.format(**vars(asked) | {"seeds": ", ".join(map(str, range(asked.runs)))}))
    return file


def timed_experiments() -> list[float]:
    """Let every experiment add the processor seconds of its work to the list that is returned."""
    from underfire.attacks.experiment import Experiment

    spent: list[float] = []
    inner: Any = Experiment.perform

    @wraps(inner)
    def perform(*args: Any, **named: Any) -> Any:
        begun = time.process_time()
        try:
            return inner(*args, **named)
        finally:
            spent.append(time.process_time() - begun)

    Experiment.perform = perform  # type: ignore[method-assign]
    return spent


def overhead(file: Path, folder: Path) -> tuple[float, float]:
    """Run the campaign with its pages. Returns the processor seconds of its experiments, and of the whole campaign."""
    from underfire.campaigns.file import read_grid
    from underfire.campaigns.running import run_campaign
    from underfire.reports.campaign import write_campaign_page, write_run_page

    spent, begun = timed_experiments(), time.process_time()
    write_campaign_page(run_campaign(read_grid(file), folder, after=lambda job, _: write_run_page(job.folder)))
    return sum(spent), time.process_time() - begun


def clocked(file: Path, folder: Path, workers: int) -> float:
    """Return the seconds of the clock that the command takes."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "underfire.cli", "run", str(file), "--out", str(folder), "--no-page"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="scenes:test")
    parser.add_argument("--classifier", default="scenes-resnet")
    parser.add_argument("--interpreter", default="cam")
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--steps", default="40,160")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--workers", type=int)
    asked = parser.parse_args()
    about = f"{asked.classifier}, {asked.interpreter}, {asked.runs} runs of {asked.count} images, steps {asked.steps}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = write_campaign(asked, folder)
        if asked.workers:
            one, many = (clocked(file, folder / f"workers-{each}", each) for each in (1, asked.workers))
            most = ceiling(asked.classifier, asked.workers)
            print(
                f"{about}: {one:.1f} s with 1 worker, {many:.1f} s with {asked.workers}: {one / many:.2f} times as fast"
            )
            print(
                f"the bare network, in {asked.workers} processes that share nothing: {most:.2f} times as fast as in one"
            )
            return
        attacks, whole = overhead(file, folder / "out")
        print(
            f"{about}: {attacks:.1f} processor seconds in attacks and controls, {whole - attacks:.1f} beside: "
            f"{(whole - attacks) / attacks:.1%}"
        )


if __name__ == "__main__":
    main()
