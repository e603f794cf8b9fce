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
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from underfire import metrics
from underfire.attacks.shaping import EdgeMask
from underfire.campaigns import RunConfig, run_attack

CLASSIFIERS = {"resnet20": (200, 24), "densenet": (64, 16)}
"""Images, and images with MASK, whose maps are solved for."""
PERTURBATIONS = ("pgd", "cw", "stadv")
ATTACKS = ("adv2", "advedge", "advedge+")
INTERPRETERS = ("cam", "grad", "rts", "mask")
TARGETS = ("patch", "class")
EDGE_THRESHOLD = EdgeMask().threshold
THRESHOLDS = (0.025, 0.05, 0.1, 0.2, 0.3)
"""Of AdvEdge+, swept on one network with one interpreter; 0.1 is the published one."""
SWEPT = ("resnet20", "cam")
MEASURES = ("success", "confidence", "map_l1", "map_iou", "ssim", "edge_energy", "seconds")


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
                    "eps": "8/255",
                    "steps": (40, 160),
                }
                for perturbation in PERTURBATIONS:
                    for attack in ATTACKS:
                        name = f"{network}-{perturbation}-{attack}-{interpreter}"
                        beside = {} if attack == "adv2" else {"baseline": "none"}  # ADV2's serves all three
                        found[name] = common | beside | {"attack": attack, "perturbation": perturbation}
                for target in TARGETS:
                    name = f"{network}-pgd-{target}-{interpreter}"
                    found[name] = common | {"attack": "adv2", "target_map": target}
                for threshold in THRESHOLDS if (network, interpreter) == SWEPT else ():
                    if threshold != EDGE_THRESHOLD:
                        settings = {"attack": "advedge+", "edge_threshold": threshold, "baseline": "none"}
                        found[f"{network}-pgd-threshold{threshold}-{interpreter}"] = common | settings
    return found


def rows(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The rows of the images that were classified correctly, by attack and image."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in pq.read_table(folder / "results.parquet").to_pylist():
        if row["correct_before"]:
            found.setdefault(row["attack"], {})[row["image_id"]] = row
    return found


def shown(interval: metrics.Interval, digits: int = 3, sign: str = "") -> str:
    if interval.mean is None:
        return ""
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def measure(found: dict[str, dict[str, Any]], column: str) -> str:
    if column == "confidence":
        return shown(metrics.interval([row[column] for row in found.values() if row["success"]]))
    values = [row[column] for row in found.values()]
    if column == "ssim":
        return shown(metrics.interval([1 - value for value in values]))
    return shown(metrics.interval(values))


def finished(out: Path) -> list[str]:
    return [name for name in cells() if (out / name / "summary.json").exists()]


def table(out: Path) -> str:
    """A row per cell, and one per prediction-only control."""
    head = "| cell | attack | n | joint | " + " | ".join(MEASURES).replace("ssim", "1 - SSIM") + " |"
    lines = [head, "|" + "---|" * (len(MEASURES) + 4)]
    controls: set[tuple[str, ...]] = set()
    for name in finished(out):
        config = cells()[name]
        if "target_map" in config or "edge_threshold" in config:
            continue
        found, control = rows(out / name), json.loads((out / name / "summary.json").read_text())["control"]
        for attack in (control, config["attack"]):
            key = (config["classifier"], config["perturbation"], config["attack"], config["interpreters"][0], attack)
            if attack in found and key not in controls:
                controls.add(key)
                group = found[attack]
                joint = shown(metrics.interval([row["joint_success"] for row in group.values()]))
                values = " | ".join(measure(group, column) for column in MEASURES)
                lines.append(f"| {name} | {attack} | {len(group)} | {joint} | {values} |")
    return "\n".join(lines)


def against_adv2(out: Path) -> str:
    """AdvEdge and AdvEdge+ less ADV2, image by image."""
    columns = ("success", "joint_success", "map_l1", "map_iou", "ssim", "edge_energy")
    head = "| cell, less ADV2 | n | " + " | ".join(columns).replace("ssim", "1 - SSIM") + " |"
    lines = [head, "|" + "---|" * (len(columns) + 2)]
    for name in finished(out):
        config = cells()[name]
        other = name.replace(f"-{config['attack']}-", "-adv2-")
        if config["attack"] == "adv2" or "edge_threshold" in config or not (out / other / "summary.json").exists():
            continue
        ours, theirs = rows(out / name)[config["attack"]], rows(out / other)["adv2"]
        ids = [image_id for image_id in ours if image_id in theirs]
        differences = []
        for column in columns:
            a, b = ([float(group[i][column]) for i in ids] for group in (ours, theirs))
            if column == "ssim":
                a, b = b, a  # 1 - SSIM grows as SSIM falls
            differences.append(shown(metrics.paired_difference(a, b), sign="+"))
        lines.append(f"| {name} | {len(ids)} | {' | '.join(differences)} |")
    return "\n".join(lines)


def sweep(out: Path) -> str:
    """AdvEdge+ by its threshold; 0 stands for ADV2, which may change every pixel."""
    network, interpreter = SWEPT
    beginning, done = f"{network}-pgd", finished(out)
    names = {0.0: f"{beginning}-adv2-{interpreter}", EDGE_THRESHOLD: f"{beginning}-advedge+-{interpreter}"}
    names |= {x: f"{beginning}-threshold{x}-{interpreter}" for x in THRESHOLDS if x != EDGE_THRESHOLD}
    columns = ("success", "joint_success", "map_l1", "ssim", "edge_energy")
    lines = [f"| threshold | n | {' | '.join(columns).replace('ssim', '1 - SSIM')} |", "|" + "---|" * 7]
    for threshold, name in sorted(names.items()):
        if name in done:
            group = rows(out / name)[cells()[name]["attack"]]
            values = " | ".join(measure(group, column) for column in columns)
            lines.append(f"| {threshold} | {len(group)} | {values} |")
    return "\n".join(lines)


def toward_targets(out: Path) -> str:
    """How far maps are from another target than the benign map, as a share of the benign map's distance to it."""
    lines = [
        "| cell | n | success | joint | map L1 to target | of the benign map | control's |",
        "|" + "---|" * 7,
    ]
    for name in finished(out):
        config = cells()[name]
        if "target_map" not in config:
            continue
        found = rows(out / name)
        control = json.loads((out / name / "summary.json").read_text())["control"]
        group, clean = found["adv2"], found["clean"]
        distance = [row["map_l1_target"] for row in group.values()]
        before = [clean[i]["map_l1_target"] for i in group]
        alone = [found[control][i]["map_l1_target"] for i in group]
        share, other = (sum(values) / sum(before) for values in (distance, alone))
        success, joint = (
            shown(metrics.interval([row[column] for row in group.values()])) for column in ("success", "joint_success")
        )
        away = shown(metrics.interval(distance))
        lines.append(f"| {name} | {len(group)} | {success} | {joint} | {away} | {share:.3f} | {other:.3f} |")
    return "\n".join(lines)


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
    for part in (table, against_adv2, sweep, toward_targets):
        print(part(arguments.out), end="\n\n")


if __name__ == "__main__":
    main()
