"""Detection over the attacker's budget: attackers with gradients and without, who know each detector.

    python -m benchmarks.detection_budgets --data cifar10/test.parquet [--minutes 30]
    python -m benchmarks.detection_budgets --page

Untargeted attacks on CAM of the CIFAR ResNet-20 at 8/255, on the same images at every budget: ``auto``, which takes one
gradient a step, and ``square``, which takes none. Both know the detector and its threshold (5 % false alarms on 200
other images). Detectors without a gradient are attacked by ``square``, and by ``auto`` that does not know them. A
finished cell is a file in ``docs/results/detection/budgets/``; the script goes on with the cells that have none.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import underfire as uf
from underfire import metrics
from underfire.detectors import FittedDetector
from underfire.errors import InputError

ROWS = Path(__file__).resolve().parent.parent / "docs" / "results" / "detection" / "budgets"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "detection.md"
BEGIN, END = "<!-- tables of benchmarks.detection_budgets -->", "<!-- end of the tables over budgets -->"
EPS = "8/255"
IMAGES, LEARNT, CALIBRATION = 32, 100, 200
DETECTORS = {
    "squeezing": ("squeezing:bit-depth:3+median:2+median:3", ("cam",)),
    "class-map": ("class-map", ("cam",)),
    "map-squeezing": ("map-squeezing", ("cam",)),
    "map-stability": ("map-stability", ("cam",)),
    "map-agreement": ("map-agreement", ("cam", "grad")),
}
BUDGETS = {"auto": (10, 100, 1000), "square": (100, 1000, 5000)}


@dataclass(frozen=True)
class Cell:
    """One attack with one budget against one detector."""

    detector: str
    attack: str
    budget: int

    @property
    def file(self) -> Path:
        return ROWS / f"{self.detector}-{self.attack}-{self.budget}.csv"


def cells() -> Iterator[Cell]:
    """Yield the cells, short ones first."""
    for place in range(3):
        for attack, budgets in BUDGETS.items():
            for detector in DETECTORS:
                yield Cell(detector, attack, budgets[place])


def fitted(name: str, classifier: uf.Classifier, images: torch.Tensor, labels: torch.Tensor) -> FittedDetector:
    """Fit a detector on images after those that are attacked."""
    spec, interpreters = DETECTORS[name]
    system = uf.System(classifier, list(interpreters))
    some, rest = images[IMAGES : IMAGES + LEARNT], images[IMAGES + LEARNT :]
    return uf.detectors.fit(spec, system, rest, some)


def term_of(detector: FittedDetector, attack: str) -> Any:
    """Return the term that evades a detector, and if the attack knows it: False if the detector has no gradient."""
    if attack == "square":
        return detector.term(gradient=False), True
    try:
        return detector.term(), True
    except InputError:
        return (), False


def make(cell: Cell, classifier: uf.Classifier, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Attack, and write a row for each image."""
    detector = fitted(cell.detector, classifier, images, labels)
    evade, knows = term_of(detector, cell.attack)
    started = time.monotonic()
    found = uf.attack(
        uf.System(classifier, "cam"),
        images[:IMAGES],
        labels[:IMAGES],
        cell.attack,
        eps=8 / 255,
        budget=cell.budget,
        targeted=False,
        evade=evade,
        control=False,
    )
    seconds, scores = time.monotonic() - started, detector.scores(found.adversarial)
    clean = detector.flags(images[:IMAGES])
    joint = found.joint_success_all.cpu()
    ROWS.mkdir(parents=True, exist_ok=True)
    part = cell.file.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("image", "knows", "success", "joint", "noticed", "score", "threshold", "clean_noticed", "seconds")
        )
        for place in range(IMAGES):
            numbers = (found.success[place], joint[place], scores[place] > detector.threshold)
            flags = [int(bool(number)) for number in (knows, *numbers)]
            measured = (f"{float(scores[place]):.5g}", f"{detector.threshold:.5g}")
            writer.writerow((place, *flags, *measured, int(clean[place]), round(seconds)))
    part.replace(cell.file)


def read(cell: Cell) -> list[dict[str, str]]:
    with cell.file.open(newline="") as file:
        return list(csv.DictReader(file))


def share(values: list[bool]) -> str:
    found = metrics.rate(values)
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def table() -> str:
    """Make the table of the cells that are there."""
    lines = [
        "| detector | attack | knows it | budget | success | detected | joint success | **triple success** |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for detector in DETECTORS:
        for attack, budgets in BUDGETS.items():
            for cell in (Cell(detector, attack, budget) for budget in budgets):
                if not cell.file.exists():
                    continue
                rows = read(cell)
                success, joint, noticed = (
                    [row[name] == "1" for row in rows] for name in ("success", "joint", "noticed")
                )
                counted = [flag for flag, reached in zip(noticed, success, strict=True) if reached]
                triple = [kept and not flag for kept, flag in zip(joint, noticed, strict=True)]
                knows = "yes" if rows[0]["knows"] == "1" else "no"
                shares = (share(success), share(counted) if counted else "-", share(joint), f"**{share(triple)}**")
                lines.append(f"| {detector} | {attack} | {knows} | {cell.budget} | {' | '.join(shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the cells that are missing, or write the table into the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="CIFAR-10's test images")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after so many minutes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--page", action="store_true", help="write the table into docs/detection.md")
    given = parser.parse_args()
    if given.page:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")
        return
    torch.set_num_threads(given.threads)
    classifier = uf.classifiers.load("cifar10-resnet20")
    count = IMAGES + LEARNT + CALIBRATION
    batch = uf.data.open_data(given.data).load((32, 32), 3, range(2000, 2000 + 2 * count))
    right = (classifier.logits(batch.images).argmax(1) == batch.labels).nonzero().flatten()[:count]
    images, labels = batch.images[right], batch.labels[right]
    started = time.monotonic()
    for cell in cells():
        if not cell.file.exists() and time.monotonic() - started < 60 * given.minutes:
            make(cell, classifier, images, labels)
            minutes = (time.monotonic() - started) / 60
            print(cell.detector, cell.attack, cell.budget, f"{minutes:.1f} min", flush=True)


if __name__ == "__main__":
    main()
