"""The measured tables: ADV2 against prediction-only PGD, with controls and intervals, on the shipped networks.

    python -m benchmarks.core_tables --data path/to/cifar10/test.parquet --out runs/core [--only cam-full] [--threads 1]
    python -m benchmarks.core_tables --out runs/core --print

Every cell is a run of its own and resumes by itself, so that the script may be stopped and started at any time. Scenes
are drawn by the package; ``--data`` is for CIFAR-10.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from underfire.campaigns import RunConfig, run_attack

NAMES = ("cam", "grad", "gradcam")
SHORT = (40, 160)
MASKERS = {"cifar10-resnet20": 200, "cifar10-densenet": 200, "scenes-resnet": 100, "scenes-densenet": 100}
CELLS: dict[str, dict[str, Any]] = {
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


def run(name: str, data: str, out: Path, count: int | None) -> None:
    settings = {"data": data, "classifier": "cifar10-resnet20", "eps": "8/255", "count": 200} | CELLS[name]
    config = RunConfig.create(**settings | ({} if count is None else {"count": count}))
    folder = out / name
    run_attack(config, folder, resume=folder.exists())


def cell(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def complement(interval: dict[str, float]) -> dict[str, float]:
    return {"mean": 1 - interval["mean"], "low": 1 - interval["high"], "high": 1 - interval["low"]}


def table(out: Path, names: list[str]) -> str:
    """A row per cell and attack; where the object's true mask is known, also where the map points; where the
    interpreter draws random numbers, its noise floor: how far another seed moves the clean images' maps."""
    lines = [
        "| run | n | attack | joint success | success | map L1 | noise floor | IoU@0.5 | 1 - SSIM |"
        " mass on object | peak on object | steps | s/image |",
        "|" + "---|" * 13,
    ]
    for name in names:
        file = out / name / "summary.json"
        if not file.exists():
            continue
        summary = json.loads(file.read_text())
        for interpreter in summary["interpreters"].values():
            for attack, group in sorted(interpreter["attacks"].items()):
                cells = [cell(group[key]) for key in ("joint_success", "success", "map_l1")]
                again = interpreter["attacks"].get("reseeded")
                cells += [cell(again["map_l1"]) if again else "", cell(group["map_iou"])]
                cells.append(cell(complement(group["ssim"])))
                for key in ("map_mass_inside", "map_peak_inside"):
                    known = group.get(key, {}).get("n")
                    cells.append(cell(group[key]) if known else "")
                costs = f"{group['steps']['mean']:.0f} | {group['seconds']['mean']:.2f}"
                n = group["success"]["n"]
                lines.append(f"| {name} | {n} | {attack} | {' | '.join(cells)} | {costs} |")
    return "\n".join(lines)


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
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if not arguments.show:
        for name in arguments.only:
            run(name, arguments.data, arguments.out, arguments.count)
            print(name, "done", flush=True)
    print(table(arguments.out, arguments.only))


if __name__ == "__main__":
    main()
