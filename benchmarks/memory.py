"""Does memory grow over consecutive attacks? Resident memory after each of 20, on cifar10-resnet20.

    python -m benchmarks.memory [--attacks 20] [--steps 3] [--batch 64] [--json FILE]

ADV2 on CAM, then on Grad, each a whole call with its verdict. "Grows" says whether the largest value of the
second half lies more than 2 % above the largest of the first half. Peaks are the process's, and never fall.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path

import torch

from benchmarks import Subject, load_subject

ALLOWED = 0.02


def resident() -> float:
    """Resident memory now, in MiB; where the system does not tell (no /proc), its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak()
    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """The largest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def series(subject: Subject, interpreter: str, attacks: int, steps: int) -> dict[str, list[float]]:
    """Resident memory and peak after each of ``attacks`` attacks."""
    system = subject.system(interpreter)
    attack = subject.attack("adv2", (steps, steps), interpreter)
    found: dict[str, list[float]] = {"resident": [], "peak": []}
    for seed in range(attacks):
        attack(system, subject.images, subject.labels, seed=seed, batch_size=len(subject.images))
        found["resident"].append(resident())
        found["peak"].append(peak())
    return found


def growth(values: list[float]) -> float:
    """How far the second half's largest value lies above the first half's, as a share of it."""
    half = len(values) // 2
    return max(values[half:]) / max(values[:half]) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=3, help="warm-up steps, and as many joint ones")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.attacks < 2:
        parser.error("--attacks must be at least 2")
    subject = load_subject("cifar", arguments.batch)
    results = {name: series(subject, name, arguments.attacks, arguments.steps) for name in ("cam", "grad")}
    print(f"{subject.about}; MiB after each of {arguments.attacks} attacks")
    for name, found in results.items():
        for kind, values in found.items():
            print(f"{name} {kind}: {' '.join(f'{value:.0f}' for value in values)}")
        share = growth(found["resident"])
        print(f"{name}: second half against first {share:+.1%}; grows: {'YES' if share > ALLOWED else 'no'}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
