"""Compare the processor time and the memory of one attack with freed memory kept, and with it given back.

    python -m benchmarks.allocation --data FOLDER_OF_PHOTOGRAPHS [--pairs 3]

Each pair is two processes, one after the other: the command line as it is, and with glibc's own settings. Ratios of the
pairs are told with their smallest and largest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

DEFAULTS = {"MALLOC_ARENA_MAX": "64"}
"""A setting of the user makes the command line leave the allocator alone. This one has no effect in itself."""


@dataclass(frozen=True)
class Taken:
    """Processor seconds of a process, how many of them were in the system, and its largest memory in bytes."""

    seconds: float
    system: float
    memory: int


def attack(words: list[str], environment: dict[str, str]) -> Taken:
    """Run ``underfire attack`` in a process of its own, on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "underfire", "attack", *words, "--out", str(Path(folder) / "run")]
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
        started = subprocess.Popen(
            command, env={**outside, "OMP_NUM_THREADS": "1", **environment}, stdout=subprocess.DEVNULL
        )
        _, status, used = os.wait4(started.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        return Taken(used.ru_utime + used.ru_stime, used.ru_stime, used.ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--classifier", default="imagenet-lite0")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    print("| interpreter | budget | processor time | in the system | memory at most |")
    print("|---|---|---|---|---|")
    for interpreter, budget in (("cam", 20), ("grad", 8)):
        words = ["--data", arguments.data, "--classifier", arguments.classifier, "--interpreter", interpreter]
        words += ["--attack", "auto", "--budget", str(budget), "--count", str(arguments.count)]
        pairs = [(attack(words, {}), attack(words, DEFAULTS)) for _ in range(arguments.pairs)]
        times = [kept.seconds / default.seconds for kept, default in pairs]
        systems = [f"{median(each.system for each in side):.1f} s" for side in zip(*pairs, strict=True)]
        memory = median(kept.memory / default.memory for kept, default in pairs)
        spread = f"{median(times):.2f} times [{min(times):.2f}, {max(times):.2f}]"
        print(
            f"| {interpreter} | {budget} | {spread} | {systems[0]}, not {systems[1]} | {memory:.2f} times |", flush=True
        )


if __name__ == "__main__":
    main()
