"""The measured tables of the core: ADV2 against prediction-only PGD on CIFAR-10, with controls and intervals.

    python -m benchmarks.core_tables --data path/to/cifar10/test.parquet --out runs/core [--only cam-full] [--threads 1]
    python -m benchmarks.core_tables --out runs/core --print

Every cell is a run of its own and resumes by itself, so that the script may be stopped and started at any time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from underfire.campaigns import RunConfig, run_attack

CELLS: dict[str, dict[str, object]] = {
    **{f"{name}-full": {"interpreters": (name,), "eps": "8/255"} for name in ("cam", "grad", "gradcam")},
    **{
        f"{name}-40,160-{eps}": {"interpreters": (name,), "eps": f"{eps}/255", "steps": (40, 160)}
        for name in ("cam", "grad", "gradcam")
        for eps in (4, 8)
    },
}


def run(name: str, data: str, out: Path, count: int) -> None:
    config = RunConfig.create(data=data, classifier="cifar10-resnet20", count=count, **CELLS[name])
    folder = out / name
    run_attack(config, folder, resume=folder.exists())


def cell(interval: dict[str, float]) -> str:
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def table(out: Path) -> str:
    lines = [
        "| run | attack | joint success | success | map L1 | IoU@0.5 | 1 - SSIM | steps | s/image |",
        "|" + "---|" * 9,
    ]
    for name in CELLS:
        file = out / name / "summary.json"
        if not file.exists():
            continue
        summary = json.loads(file.read_text())
        for interpreter in summary["interpreters"].values():
            for attack, group in sorted(interpreter["attacks"].items()):
                noise = {key: 1 - value for key, value in group["ssim"].items() if key != "n"}
                noise["low"], noise["high"] = noise["high"], noise["low"]
                cells = [cell(group[key]) for key in ("joint_success", "success", "map_l1", "map_iou")]
                costs = f"{group['steps']['mean']:.0f} | {group['seconds']['mean']:.2f}"
                lines.append(f"| {name} | {attack} | {' | '.join(cells)} | {cell(noise)} | {costs} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="test.parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(CELLS))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if not arguments.show:
        for name in arguments.only:
            run(name, arguments.data, arguments.out, arguments.count)
            print(name, "done", flush=True)
    print(table(arguments.out))


if __name__ == "__main__":
    main()
