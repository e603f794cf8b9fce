"""Joint attacks on photographs: ImageNet classifiers, interpreters, perturbations and radii.

    python -m benchmarks.photographs --data FOLDER --out runs/photographs [--only lite0-cam] [--minutes 60]
    python -m benchmarks.photographs --print

``FOLDER`` has one subfolder of photographs per WordNet id. Photographs are taken in blocks of eight, each block spread
over all classes, and the rows of each finished block go to ``docs/results/photographs/``. So the script may be stopped
and started at any time, on any machine: it goes on with the blocks that are not in those files. The tables are made
of these files alone.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from benchmarks import photograph_tables
from benchmarks.photograph_tables import COLUMNS, ROWS, Cell, name_of
from underfire.runs import RunConfig, run_attack

BLOCKS = 25
ATTACKS = ("adv2", "auto", "advedge", "advedge+")
"""The prediction-only attack is the control of ADV2, and the same for all."""


def plan() -> Iterator[tuple[Cell, str, int]]:
    """Yield cells, attacks, and the number of blocks that each shall have, what is wanted first first."""
    yield Cell("lite0", "cam", "pgd", "8"), "adv2", 9
    yield Cell("lite0", "cam", "pgd", "8"), "auto", 5
    for cell, blocks in cells():
        for kind in ATTACKS:
            yield cell, kind, blocks


def cells() -> Iterator[tuple[Cell, int]]:
    """Yield cells, and the number of blocks that each shall have."""
    for blocks in (1, 2, 4, 9, BLOCKS):
        for network in ("lite0", "lite2"):
            for interpreter in ("cam", "grad", "gradcam"):
                yield Cell(network, interpreter, "pgd", "8"), blocks
            for eps in ("4", "2"):
                yield Cell(network, "cam", "pgd", eps), blocks
            for perturbation in ("cw", "stadv"):
                yield Cell(network, "cam", perturbation, ""), blocks
        for network in ("lite0", "lite2"):
            for eps in ("4", "2"):
                yield Cell(network, "grad", "pgd", eps), max(1, blocks // 2)
            for interpreter in ("lrp", "smoothgrad", "mask"):
                yield Cell(network, interpreter, "pgd", "8"), max(1, blocks // 4)


def block_file(data: Path, out: Path, block: int) -> Path:
    """Write the list of the photographs of one block, and return its path."""
    photographs = sorted(path for path in data.glob("*/*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"block-{block}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        writer.writerows((photo.resolve(), photo.parent.name) for photo in photographs[block::BLOCKS])
    return path


def attack(cell: Cell, kind: str, block: int, data: Path, out: Path) -> None:
    """Attack one block with one attack of a cell, and add the rows to the cell's file."""
    settings: dict[str, Any] = {"eps": f"{cell.eps}/255"} if cell.eps else {"noise_eps": "8/255"}
    if kind != "adv2":
        settings["baseline"] = "none"
    config = RunConfig.create(
        data=str(block_file(data, out, block)),
        classifier=f"imagenet-{cell.network}",
        interpreters=(cell.interpreter,),
        attack=kind,
        perturbation=cell.perturbation,
        **({"budget": 200} if kind == "auto" else {"steps": (40, 160)}),
        **settings,
    )
    folder = out / name_of(cell) / f"{block}-{kind}"
    run_attack(config, folder, resume=folder.exists())
    found = pq.read_table(folder / "results.parquet").to_pylist()
    wanted = [row for row in found if row["attack"] == kind or (kind == "adv2" and row["attack"] != "clean")]
    ROWS.mkdir(parents=True, exist_ok=True)
    path = ROWS / f"{name_of(cell)}.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(("block", "photo", *COLUMNS))
        for row in wanted:
            values = (row[name] for name in COLUMNS)
            shown = (f"{value:.5g}" if isinstance(value, float) else value for value in values)
            writer.writerow((block, Path(row["path"]).stem, *shown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/photographs"))
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as lite0-cam")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no block after so many minutes")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="the most blocks of a cell")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    for cell, kind, blocks in () if arguments.show else plan():
        if not name_of(cell).startswith(tuple(arguments.only)):
            continue
        for block in range(min(blocks, arguments.blocks)):
            if block in photograph_tables.blocks_of(cell, kind):
                continue
            if time.monotonic() - started > 60 * arguments.minutes:
                return
            attack(cell, kind, block, arguments.data, arguments.out)
            print(name_of(cell), kind, block, f"{(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    print(photograph_tables.tables())


if __name__ == "__main__":
    main()
