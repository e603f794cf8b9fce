"""The whole cross product on CIFAR-10: perturbation x shaping x interpreter, and other target maps.

    python -m benchmarks.grid --data path/to/cifar10/test.parquet --out runs/grid [--only resnet20-pgd] [--threads 1]
    python -m benchmarks.grid --out runs/grid --print

Every cell is a run of its own and resumes by itself, so that the script may be stopped and started at any time; cheap
cells come first. ``--only`` takes beginnings of names. Prints each cell's measures with 95 % intervals, AdvEdge and
AdvEdge+ against ADV2 image by image, AdvEdge+ by its threshold, and how far maps come toward another target than the
benign map.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from benchmarks import grid_tables
from underfire.runs import RunConfig, run_attack

CLASSIFIERS = {"resnet20": (200, 24), "densenet": (64, 16)}
"""Images, and images with MASK, whose maps are solved for."""
PERTURBATIONS = ("pgd", "cw", "stadv")
ATTACKS = ("adv2", "advedge", "advedge+")
INTERPRETERS = ("cam", "grad", "rts", "mask")
TARGETS = ("patch", "class")
THRESHOLDS = (0.025, 0.05, 0.1, 0.2, 0.3)
"""Of AdvEdge+, swept on one network with one interpreter; 0.1 is the published one."""
SWEPT = ("resnet20", "cam")


def cells() -> dict[str, dict[str, Any]]:
    """Settings by name; those with MASK last."""
    found: dict[str, dict[str, Any]] = {}
    for slow in (False, True):
        for network, counts in CLASSIFIERS.items():
            for interpreter in INTERPRETERS:
                if (interpreter == "mask") is not slow:
                    continue
                common = {
                    "classifier": f"cifar10-{network}",
                    "interpreters": (interpreter,),
                    "count": counts[slow],
                    "steps": (40, 160),
                }
                ball = common | {"eps": "8/255"}
                for perturbation in PERTURBATIONS:
                    for attack in ATTACKS:
                        name = f"{network}-{perturbation}-{attack}-{interpreter}"
                        beside = {} if attack == "adv2" else {"baseline": "none"}  # they are compared with ADV2
                        shared = ball if perturbation == "pgd" else common
                        found[name] = shared | beside | {"attack": attack, "perturbation": perturbation}
                for target in TARGETS:
                    name = f"{network}-pgd-{target}-{interpreter}"
                    found[name] = ball | {"attack": "adv2", "target_map": target}
                for threshold in THRESHOLDS if (network, interpreter) == SWEPT else ():
                    settings = {"attack": "advedge+", "edge_threshold": threshold}  # and the control with those edges
                    found[f"{network}-pgd-threshold{threshold}-{interpreter}"] = ball | settings
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="test.parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as resnet20-pgd")
    parser.add_argument("--count", type=int, help="images per cell, instead of 200, 64, and 24 and 16 with MASK")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if not arguments.show:
        for name, settings in cells().items():
            if name.startswith(tuple(arguments.only)):
                count = {} if arguments.count is None else {"count": arguments.count}
                folder = arguments.out / name
                config = RunConfig.create(data=arguments.data, **settings | count)
                run_attack(config, folder, resume=folder.exists())
                print(name, "done", flush=True)
    done = grid_tables.on_one_scale(grid_tables.finished(cells(), arguments.out))
    print(grid_tables.by_cell(done), end="\n\n")
    print(grid_tables.against_adv2(done), end="\n\n")
    print(grid_tables.by_threshold(done), end="\n\n")
    print(grid_tables.toward_targets(done))


if __name__ == "__main__":
    main()
