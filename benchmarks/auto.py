"""``auto`` against the published schedules: the same images, and every interpreter.

    python -m benchmarks.auto --data path/to/cifar10/test.parquet --out runs/auto [--only resnet20-cam] [--threads 1]
    python -m benchmarks.auto --photographs FOLDER --out runs/auto --only lite0
    python -m benchmarks.auto --print

``FOLDER`` has one subfolder of photographs per WordNet id; cells of ``lite0`` take them, spread over all classes.

Attacks the same images by ``auto`` with 200 steps and with 100, by ADV2 with 200 (``--steps 40,160``), and by ADV2
with all its published steps, and ``auto`` on some cells with other budgets. The rows of each finished run go to
``docs/results/auto/``, with the limit of a kept map (``NAME-limit.json``) and the course of the attack
(``NAME-KIND-course.csv``), so that the script may be stopped and started at any time, on any machine. The tables are
made of these files alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks import auto_tables
from benchmarks.auto_tables import COLUMNS, ROWS, limit_of, read
from underfire.runs import RunConfig, run_attack

ATTACKS: dict[str, dict[str, Any]] = {
    "auto": {"attack": "auto", "budget": 200},
    "full": {"attack": "adv2", "baseline": "none"},
    "short": {"attack": "adv2", "steps": (40, 160), "baseline": "none"},
    "auto-50": {"attack": "auto", "budget": 50, "baseline": "none"},
    "auto-100": {"attack": "auto", "budget": 100, "baseline": "none"},
    "auto-1000": {"attack": "auto", "budget": 1000, "baseline": "none"},
    "auto-10000": {"attack": "auto", "budget": 10000, "baseline": "none"},
    "advedge": {"attack": "auto", "shaping": "edge", "budget": 200, "baseline": "none"},
    "advedge+": {"attack": "auto", "shaping": "edge-mask", "budget": 200, "baseline": "none"},
}
"""The prediction-only attack is the control of ``auto``."""
EVERYWHERE = ("auto", "auto-100", "full")
"""The kinds of attack on every cell."""
MORE = ("short", "auto-50", "auto-1000", "auto-10000", "advedge", "advedge+")
"""Further kinds of attack on the cells ``DETAILED``."""
DETAILED = ("resnet20-cam-4", "resnet20-cam-8", "resnet20-grad-4", "resnet20-grad-8")
COUNTS = {"cam": 32, "grad": 32, "gradcam": 32, "rts": 32, "lrp": 16, "smoothgrad": 8, "mask": 24}
"""Images on the ResNet; the DenseNet, several times as slow, has half as many."""
MORE_IMAGES = {"densenet-rts-4": 32, "densenet-smoothgrad-4": 8, "densenet-smoothgrad-8": 8}
"""Cells with other numbers: where fewer images did not tell which attack is stronger, and where more cost nothing,
because batches are filled up to eight."""


NETWORKS = {"resnet20": "cifar10-resnet20", "densenet": "cifar10-densenet", "lite0": "imagenet-lite0"}
STRIDE = 25
"""Photographs are taken as in ``benchmarks.photographs``: every 25th, from the first, the second, and so on."""


def plan() -> Iterator[tuple[str, int, str]]:
    """Yield the names of cells, their numbers of images, and the kinds of attack, what is wanted first first."""
    quick = [name for name, count in COUNTS.items() if count == 32]
    slow = [name for name, count in COUNTS.items() if count != 32]
    for network, interpreters in (("resnet20", quick), ("resnet20", slow), ("densenet", quick), ("densenet", slow)):
        for interpreter in interpreters:
            for eps in (4, 8):
                name = f"{network}-{interpreter}-{eps}"
                count = MORE_IMAGES.get(name, COUNTS[interpreter] // (1 if network == "resnet20" else 2))
                for kind in EVERYWHERE:
                    yield name, count, kind
        for name in DETAILED if network == "resnet20" and interpreters is quick else ():
            for kind in MORE:
                yield name, 32, kind
    for name in ("lite0-cam-4", "lite0-grad-4", "lite0-cam-8", "lite0-grad-8"):
        for kind in EVERYWHERE:
            yield name, 32, kind


def spread(photographs: Path, out: Path) -> Path:
    """Write a list of all photographs in which neighbours are of different classes, and return its path."""
    found = sorted(path for path in photographs.glob("*/*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    out.mkdir(parents=True, exist_ok=True)
    listed = [photo for first in range(STRIDE) for photo in found[first::STRIDE]]
    write(out / "photographs.csv", ("path", "label"), ((photo.resolve(), photo.parent.name) for photo in listed))
    return out / "photographs.csv"


def attack(name: str, settings: dict[str, Any], kind: str, out: Path, at_once: int | None) -> None:
    """Make one run, ``at_once`` images at a time, and write what it found.

    That are its rows, its course, and if it is the first of its cell the limit of a kept map.
    """
    folder = out / f"{name}-{kind}"
    run_attack(RunConfig.create(**settings | ATTACKS[kind]), folder, resume=folder.exists(), batch_size=at_once)
    found = pq.read_table(folder / "results.parquet").to_pylist()
    wanted = [row for row in found if row["correct_before"] and row["attack"] != "clean"]
    ROWS.mkdir(parents=True, exist_ok=True)
    if kind == "auto":
        summary = json.loads((folder / "summary.json").read_text())
        limit = {key: next(iter(summary[key].values())) for key in ("joint_success_threshold", "chance")}
        (ROWS / f"{name}-limit.json").write_text(json.dumps(limit, indent=1) + "\n")
    write(ROWS / f"{name}-{kind}-course.csv", ("step", "success", "map_l1", "joint"), course(name, folder))
    write(
        ROWS / f"{name}-{kind}.csv",
        ("image", *COLUMNS),
        ([row["image_id"], *(row[column] for column in COLUMNS)] for row in wanted),
    )


def write(path: Path, head: tuple[str, ...], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table, with five digits."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows([f"{v:.5g}" if isinstance(v, float) else v for v in row] for row in rows)


def course(name: str, folder: Path) -> Iterator[tuple[int, float, float, float]]:
    """Read the trace of a run: shares of success and of joint success so far, and the best map L1 of successes."""
    limit = limit_of(name)
    rows: dict[int, list[tuple[str, bool, float]]] = {}
    for row in pq.read_table(folder / "trace.parquet").to_pylist():
        if row["attack"] in ("auto", "adv2", "advedge", "advedge+"):
            rows.setdefault(row["step"], []).append((row["image_id"], row["success"] == 1, row["map_l1"]))
    best: dict[str, float] = {}
    count = len({image for found in rows.values() for image, _, _ in found})
    for step, found in sorted(rows.items()):
        for image, success, distance in found:
            if success:
                read = np.inf if distance is None or np.isnan(distance) else distance
                best[image] = min(best.get(image, np.inf), read)
        known = [value for value in best.values() if np.isfinite(value)]
        kept = sum(value < limit for value in known)
        yield step, len(best) / count, float(np.mean(known)) if known else np.nan, kept / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="test.parquet")
    parser.add_argument("--photographs", type=Path, help="a folder of photographs, for lite0")
    parser.add_argument("--out", type=Path, default=Path("runs/auto"))
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as resnet20-cam")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no run after so many minutes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--at-once", type=int, help="images at once: so many are lost where a run is stopped")
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    for name, count, kind in () if arguments.show else plan():
        if not f"{name}-{kind}".startswith(tuple(arguments.only)) or read(name, kind):
            continue
        if time.monotonic() - started > 60 * arguments.minutes:
            break
        network, interpreter, eps = name.split("-")
        if network == "lite0" and not arguments.photographs:
            continue
        data = spread(arguments.photographs, arguments.out) if network == "lite0" else arguments.data
        settings = {
            "data": str(data),
            "classifier": NETWORKS[network],
            "interpreters": (interpreter,),
            "eps": f"{eps}/255",
            "count": count,
        }
        attack(name, settings, kind, arguments.out, arguments.at_once)
        print(name, kind, f"{(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    print(auto_tables.tables())


if __name__ == "__main__":
    main()
