"""The measured tables: ADV2 against prediction-only PGD, with controls and intervals, on the shipped networks.

    python -m benchmarks.core_tables --data path/to/cifar10/test.parquet --out runs/core [--only cam-full] [--threads 1]
    python -m benchmarks.core_tables --out runs/core --print
    python -m benchmarks.core_tables --out runs/core --print --keep docs/results/core

``--keep`` copies what the tables are made of, without images and paths, into a folder that ``--out`` then takes.

Every cell is a run of its own and resumes by itself, so that the script may be stopped and started at any time. Scenes
are drawn by the package; ``--data`` is for CIFAR-10.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.grid_tables import Cell, finished, markdown, shown
from underfire import metrics
from underfire.attacks import MEASURES
from underfire.runs import RunConfig, run_attack

NAMES = ("cam", "grad", "gradcam")
SHORT = (40, 160)
MASKERS = {"cifar10-resnet20": 200, "cifar10-densenet": 200, "scenes-resnet": 100, "scenes-densenet": 100}
_SETTINGS: dict[str, dict[str, Any]] = {
    **{f"{name}-full": {"interpreters": (name,)} for name in NAMES},
    **{
        f"{name}-40,160-{eps}": {"interpreters": (name,), "eps": f"{eps}/255", "steps": SHORT}
        for name in NAMES
        for eps in (4, 8)
    },
    **{
        f"{classifier}-{name}": {"classifier": classifier, "interpreters": (name,), "steps": SHORT, "count": 100}
        | ({"data": "scenes:test"} if classifier.startswith("scenes") else {})
        for classifier in ("cifar10-densenet", "scenes-resnet", "scenes-densenet")
        for name in NAMES
    },
    **{
        f"{classifier}-rts": {"classifier": classifier, "interpreters": ("rts",), "steps": SHORT, "count": count}
        | ({"data": "scenes:test"} if classifier.startswith("scenes") else {})
        for classifier, count in MASKERS.items()
    },
    # MASK's maps are solved for, which takes minutes per image: fewer of them.
    "mask-full": {"interpreters": ("mask",), "count": 50},
    "mask-40,160-8": {"interpreters": ("mask",), "count": 50, "steps": SHORT},
    "cifar10-densenet-mask-full": {"classifier": "cifar10-densenet", "interpreters": ("mask",), "count": 16},
    "cifar10-densenet-mask": {
        "classifier": "cifar10-densenet",
        "interpreters": ("mask",),
        "count": 16,
        "steps": SHORT,
    },
}
CELLS = {name: {"classifier": "cifar10-resnet20"} | settings for name, settings in _SETTINGS.items()}


def run(name: str, data: str, out: Path, count: int | None) -> None:
    settings = {"data": data, "eps": "8/255", "count": 200} | CELLS[name]
    config = RunConfig.create(**settings | ({} if count is None else {"count": count}))
    folder = out / name
    run_attack(config, folder, resume=folder.exists())


def keep(cell: Cell, folder: Path) -> None:
    """Copy what a table is made of: the rows, with the names of files in the place of their paths, and the summary."""
    table = pq.read_table(cell.folder / "results.parquet")
    names = pa.array([Path(path).name for path in table["path"].to_pylist()])
    table = table.set_column(table.column_names.index("path"), "path", names)
    (folder / cell.name).mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / cell.name / "results.parquet", compression="zstd")
    shutil.copy(cell.folder / "summary.json", folder / cell.name)


def tables(found: list[Cell]) -> str:
    """A table of the cells whose objects' true masks are not known, and one of those where they are."""
    masked = [
        cell for cell in found if any(row.get("map_mass_inside") is not None for row in cell.rows["clean"].values())
    ]
    others = [cell for cell in found if cell not in masked]
    return "\n\n".join(_table(cells, cells is masked) for cells in (others, masked) if cells)


def _table(found: list[Cell], pointing: bool) -> str:
    """A row per cell and reading: the controls, the prediction-only attack, ADV2, and the chance control.

    The number of the chance control is the share of maps that pass the limit.
    ``reseeded`` is MASK's noise floor: how far another seed moves the clean images' maps. ``pointing``: also where maps
    point.
    """
    head = ["explanation", "network", "n", "read after", "joint success", "success", "map L1", "IoU@0.5", "image SSIM"]
    head += ["mass on object", "peak on object"] if pointing else []
    lines = (line for cell in found for line in _lines(cell, pointing))
    return markdown((*head, "steps", "s/image"), lines)


def _lines(cell: Cell, pointing: bool) -> Iterator[tuple[object, ...]]:
    network, explanation, _ = cell.place
    for attack in ("clean", "reseeded", "noise", cell.control, "adv2"):
        rows = list(cell.rows.get(attack or "", {}).values())
        if not rows or (attack == "clean" and not pointing):
            continue
        ours, changed = attack in (cell.control, "adv2"), attack not in ("clean", "reseeded")
        groups = cell.summary["interpreters"][cell.interpreter]["attacks"]
        values = [shown(metrics.Interval(**groups[attack]["joint_success"])) if ours else ""]
        values += [
            shown(metrics.interval([row[name] for row in rows], MEASURES[name].bounds)) if there else ""
            for name, there in (
                ("success", ours),
                ("map_l1", attack != "clean"),
                ("map_iou", attack != "clean"),
            )
        ]
        values.append(shown(metrics.interval([row["ssim"] for row in rows], metrics.SIGNED)) if changed else "")
        if pointing:
            values += [
                shown(metrics.interval([row[f"map_{what}_inside"] for row in rows], metrics.UNIT))
                for what in ("mass", "peak")
            ]
        steps, seconds = (sum(row[name] for row in rows) / len(rows) for name in ("steps", "seconds"))
        costs = (f"{steps:.0f}", f"{seconds:.1f}") if ours else ("", "")
        yield (explanation, network, len(rows), f"**{attack}**" if attack == "adv2" else attack, *values, *costs)
    # Cells of an earlier version have no chance control, until they are run again, which makes their tables anew.
    for what, share in cell.summary.get("chance", {}).get(cell.interpreter, {}).items():
        found = metrics.Interval(**share)
        blanks = [""] * (8 if pointing else 6)
        yield (explanation, network, found.n, f"{what.replace('_', ' ')} (chance)", shown(found), *blanks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="test.parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(CELLS))
    parser.add_argument(
        "--count",
        type=int,
        help="images per cell, instead of 200 on ResNet-20 and RTS on CIFAR-10, 50 and 16 with MASK, 100 elsewhere",
    )
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    parser.add_argument("--keep", type=Path, help="copy what the tables are made of into this folder")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if not arguments.show:
        for name in arguments.only:
            run(name, arguments.data, arguments.out, arguments.count)
            print(name, "done", flush=True)
    found = finished({name: CELLS[name] for name in arguments.only}, arguments.out)
    for cell in found if arguments.keep else ():
        keep(cell, arguments.keep)
    print(tables(found))


if __name__ == "__main__":
    main()
