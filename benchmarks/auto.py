"""``auto`` against the published schedules: the same images, and every interpreter.

    python -m benchmarks.auto --data path/to/cifar10/test.parquet --out runs/auto [--only resnet20-cam] [--threads 1]
    python -m benchmarks.auto --print

Attacks the same images by ``auto`` with 200 steps, by ADV2 with 200 (``--steps 40,160``), and by ADV2 with all its
published steps. The rows of each finished run go to ``docs/results/auto/``, so that the script may be stopped and
started at any time, on any machine. The tables are made of these files alone.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.grid_tables import NAMES, markdown, shown
from underfire import metrics
from underfire.runs import RunConfig, run_attack

ROWS = Path(__file__).parent.parent / "docs/results/auto"
COLUMNS = ("attack", "success", "confidence", "map_l1", "map_iou", "ssim", "steps", "seconds")
ATTACKS: dict[str, dict[str, Any]] = {
    "auto": {"attack": "auto", "budget": 200},
    "short": {"attack": "adv2", "steps": (40, 160), "baseline": "none"},
    "full": {"attack": "adv2", "baseline": "none"},
}
"""The prediction-only attack is the control of ``auto``."""
COUNTS = {"cam": 32, "grad": 32, "gradcam": 32, "rts": 32, "lrp": 16, "smoothgrad": 8, "mask": 8}


def cells() -> Iterator[tuple[str, str, int]]:
    """Yield networks, interpreters and radii, what is quick first."""
    for quick in (True, False):
        for network in ("resnet20", "densenet"):
            for interpreter, count in COUNTS.items():
                for eps in (4, 8) if quick is (count == 32) else ():
                    yield network, interpreter, eps


def attack(name: str, settings: dict[str, Any], kind: str, out: Path) -> None:
    """Make one run, and write its rows."""
    folder = out / f"{name}-{kind}"
    run_attack(RunConfig.create(**settings | ATTACKS[kind]), folder, resume=folder.exists())
    found = pq.read_table(folder / "results.parquet").to_pylist()
    wanted = [row for row in found if row["correct_before"] and row["attack"] != "clean"]
    ROWS.mkdir(parents=True, exist_ok=True)
    with (ROWS / f"{name}-{kind}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", *COLUMNS))
        for row in wanted:
            values = (row[column] for column in COLUMNS)
            writer.writerow((row["image_id"], *(f"{v:.5g}" if isinstance(v, float) else v for v in values)))


def read(name: str, kind: str) -> dict[str, dict[str, dict[str, float]]]:
    """Read the rows of a run, by attack or control and by image; empty if it has not been made."""
    path = ROWS / f"{name}-{kind}.csv"
    found: dict[str, dict[str, dict[str, float]]] = {}
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                image = {c: {"True": 1.0, "False": 0.0, "": np.nan}.get(row[c], row[c]) for c in COLUMNS[1:]}
                found.setdefault(row["attack"], {})[row["image"]] = {c: float(v) for c, v in image.items()}
    return found


SAID = {"bim": "prediction alone, 200", "auto": "**auto**, 200", "short": "ADV2, 200", "full": "ADV2, all steps"}


def tables() -> str:
    """Lay out all finished cells."""

    def lines() -> Iterator[tuple[object, ...]]:
        for network, interpreter, eps in cells():
            name = f"{network}-{interpreter}-{eps}"
            auto = read(name, "auto")
            if not auto:
                continue
            limit = np.percentile([row["map_l1"] for row in auto["noise"].values()], 95)
            runs = {"bim": auto["bim"], "auto": auto["auto"]}
            runs |= {kind: found["adv2"] for kind in ("short", "full") if (found := read(name, kind))}
            for kind, rows in runs.items():
                joint = [row["success"] == 1 and row["map_l1"] < limit for row in rows.values()]
                less = ""
                if kind in ("short", "full"):
                    pairs = [[side[image]["map_l1"] for image in rows] for side in (auto["auto"], rows)]
                    less = shown(metrics.paired_difference(*pairs), sign="+")
                yield (
                    network,
                    NAMES.get(interpreter, {"smoothgrad": "SmoothGrad", "lrp": "LRP"}.get(interpreter)),
                    f"{eps}/255",
                    SAID[kind],
                    len(rows),
                    f"{np.mean([row['steps'] for row in rows.values()]):.0f}",
                    shown(metrics.interval([row["success"] == 1 for row in rows.values()])),
                    shown(metrics.interval([row["map_l1"] for row in rows.values()])),
                    less,
                    shown(metrics.interval(joint)),
                    f"{np.mean([row['confidence'] for row in rows.values()]):.2f}",
                )

    head = ("network", "map", "eps", "attack", "n", "steps", "success", "map L1", "auto's map L1 less this")
    return markdown((*head, "joint success", "confidence"), lines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="test.parquet")
    parser.add_argument("--out", type=Path, default=Path("runs/auto"))
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as resnet20-cam")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after so many minutes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    for network, interpreter, eps in () if arguments.show else cells():
        name = f"{network}-{interpreter}-{eps}"
        if not name.startswith(tuple(arguments.only)):
            continue
        settings = {
            "data": arguments.data,
            "classifier": f"cifar10-{network}",
            "interpreters": (interpreter,),
            "eps": f"{eps}/255",
            "count": COUNTS[interpreter],
        }
        for kind in ATTACKS:
            if read(name, kind):
                continue
            if time.monotonic() - started > 60 * arguments.minutes:
                return
            attack(name, settings, kind, arguments.out)
            print(name, kind, f"{(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    print(tables())


if __name__ == "__main__":
    main()
