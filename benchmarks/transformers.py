"""Measure the maps of transformers' interpreters on scenes, and joint attacks on them.

    python -m benchmarks.transformers --pointing [--count 300]
    python -m benchmarks.transformers --attacks [--count 100] [--budget 100] [--only 4-rollout]
    python -m benchmarks.transformers --print

``--pointing`` measures the maps of ``scenes-vit`` (and of ``scenes-resnet`` beside it) against the objects' masks, and
how much of a map is the class's: its correlation with the map of a random other class.

``--attacks`` attacks the same images by ``auto`` and by ADV2 with as many steps, on one interpreter at a time; the
other interpreters read. The controls (noise, and the prediction-only attack) are part of each call. The rows of each
finished call go to ``docs/results/transformers/``, so that the script may be stopped and started at any time; the
tables are made of these files alone.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import underfire as uf
from underfire.attacks import AttackResult, preset

ROWS = Path(__file__).parent.parent / "docs" / "results" / "transformers"
SHOWN = ("grad", "smoothgrad", "ig", "gradcam", "gradcam++", "layercam", "attention", "rollout", "chefer")
POINTING = {
    "scenes-resnet": ("grad", "gradcam", "lrp", "attnlrp"),
    "scenes-vit": (*SHOWN, "chefer-lrp", "attnlrp", "attnlrp:values"),
}
ATTACKED = ("rollout", "gradcam", "chefer", "grad", "chefer-lrp", "attnlrp")
READ = ("grad", "gradcam", "rollout", "chefer", "chefer-lrp", "attnlrp")
KINDS = ("auto", "adv2")
LATEST = "attnlrp"
"""The interpreter whose attacks all of ``READ`` were there to read."""
USUAL = "100"
"""The steps of attacks whose files do not say them."""


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Write a table, with five digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in row.items()})


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """The correlation of two maps N x h x w over places, N; 0 for constant maps."""
    a, b = (maps.flatten(1) - maps.flatten(1).mean(1, keepdim=True) for maps in (first, second))
    return torch.nn.functional.cosine_similarity(a, b, dim=1)


def pointing_path(network: str, interpreter: str) -> Path:
    """The file of how the maps of an interpreter point."""
    return ROWS / f"pointing-{network}-{interpreter.replace(':', '_')}.csv"


def attack_path(eps: int, interpreter: str, kind: str) -> Path:
    """The file of an attack on the maps of an interpreter."""
    return ROWS / f"{eps}-{interpreter}-{kind}.csv"


def pointing(count: int) -> None:
    """Measure the maps of each interpreter on the first scenes, and write one row per image."""
    data = uf.data.open_data("scenes:test")
    batch = data.load(indices=range(count))
    masks = data.masks(indices=range(count))
    assert masks is not None
    shift = torch.randint(1, 10, (count,), generator=torch.Generator().manual_seed(0))
    for network, names in POINTING.items():
        classifier = uf.classifiers.load(network)
        for name in names:
            path = pointing_path(network, name)
            if path.exists():
                continue
            interpreter = uf.interpreters.create(name)
            maps = interpreter.maps(classifier, batch.images, batch.labels)
            other = interpreter.maps(classifier, batch.images, (batch.labels + shift) % 10)
            values = {
                "mass": uf.metrics.mass_inside(maps, masks),
                "peak": uf.metrics.peak_inside(maps, masks).double(),
                "object": torch.as_tensor(masks).flatten(1).double().mean(1),
                "other_class": correlation(maps, other),
                "other_image": (maps - maps.roll(1, 0)).abs().flatten(1).mean(1),
            }
            write(
                path,
                [
                    {"image": batch.ids[index], **{key: float(column[index]) for key, column in values.items()}}
                    for index in range(count)
                ],
            )
            print(network, name, flush=True)


def rows_of(result: AttackResult, ids: list[str], steps: int) -> Iterator[dict[str, object]]:
    """Yield one row per image that was classified correctly, of the attack and of each control."""
    judged: dict[str, Any] = {result.attack: result, **result.controls}
    for label, found in judged.items():
        if label == "clean":
            continue
        for index in result.correct_before.nonzero().flatten().tolist():
            row: dict[str, object] = {"image": ids[index], "attack": label, "success": int(found.success[index])}
            row["steps"] = steps
            for name in result.map_limit:
                row[f"l1-{name}"] = float(found.map_l1[name][index])
                row[f"limit-{name}"] = float(result.map_limit[name][index])
            yield row


def attack(count: int, budget: int, only: str, minutes: float) -> None:
    """Make the attacks that have no file yet."""
    started = time.monotonic()
    batch = uf.data.open_data("scenes:test").load(indices=range(count))
    classifier = uf.classifiers.load("scenes-vit")
    for eps in (4, 8):
        for interpreter in ATTACKED:
            for kind in KINDS:
                path = attack_path(eps, interpreter, kind)
                late = time.monotonic() - started > 60 * minutes
                if path.exists() or late or not path.stem.startswith(only):
                    continue
                steps = {"budget": budget} if kind == "auto" else {"steps": (budget // 5, budget - budget // 5)}
                made = preset(kind, eps=eps / 255, **steps)
                system = uf.System(classifier, interpreter, readers=[name for name in READ if name != interpreter])
                # Both have the same prediction-only control: it is attacked once, beside auto.
                result = made(system, batch.images, batch.labels, control=kind == "auto")
                write(path, list(rows_of(result, list(batch.ids), budget)))
                print(path.stem, f"{time.monotonic() - started:.0f} s", flush=True)


def mean(values: list[float] | list[bool]) -> str:
    """A mean with its 95 % interval; that of a rate for booleans."""
    found = uf.metrics.interval(torch.tensor(values))
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def kept(row: dict[str, str], name: str) -> bool:
    """True if the map of ``name`` is nearer to the benign one than its limit."""
    return float(row[f"l1-{name}"]) < float(row[f"limit-{name}"])


def joint(rows: list[dict[str, str]], name: str) -> str:
    """The share of images whose class is reached and whose map of ``name`` is kept; a dash if nothing was read."""
    if f"l1-{name}" not in rows[0]:
        return "-"
    return mean([row["success"] == "1" and kept(row, name) for row in rows])


def show_pointing() -> None:
    """Print where the maps point."""
    head = ("mass on the object", "peak on the object", "correlation with another class", "L1 to another image")
    print(f"| network | interpreter | {' | '.join(head)} | n |\n" + "|---" * 7 + "|")
    for network, names in POINTING.items():
        for name in sorted(names):
            rows = read(pointing_path(network, name))
            peaks = [float(row["peak"]) == 1 for row in rows]
            mass, other = (mean([float(row[key]) for row in rows]) for key in ("mass", "other_class"))
            distance = sum(float(row["other_image"]) for row in rows) / len(rows)
            columns = [mass, mean(peaks), other, f"{distance:.3f}"]
            print(f"| {network} | {name} | {' | '.join(columns)} | {len(rows)} |")
    area = [float(row["object"]) for row in rows]
    print(f"\nThe object covers {mean(area)} of the picture.\n")


def show_attacks() -> None:
    """Print what each attack reached on the interpreter that it is about, with the controls of ``auto``."""
    heads = (
        "eps",
        "interpreter",
        "attack",
        "steps",
        "class reached",
        "map kept",
        "joint success",
        "map L1",
        "limit",
        "n",
    )
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    for eps in (4, 8):
        for name in sorted(ATTACKED):
            for kind in KINDS:
                rows = read(attack_path(eps, name, kind))
                labels = dict.fromkeys(row["attack"] for row in rows)
                for label in [each for each in labels if kind == "auto" or each == kind]:
                    mine = [row for row in rows if row["attack"] == label]
                    shares = [
                        mean([row["success"] == "1" for row in mine]),
                        mean([kept(row, name) for row in mine]),
                        joint(mine, name),
                    ]
                    steps = "" if label == "noise" else mine[0].get("steps", USUAL)
                    distance = sum(float(row[f"l1-{name}"]) for row in mine) / len(mine)
                    limit = float(mine[0][f"limit-{name}"])
                    said = f"{steps} | {' | '.join(shares)} | {distance:.3f} | {limit:.3f} | {len(mine)}"
                    print(f"| {eps} | {name} | {label} | {said} |")


def show_transfer() -> None:
    """Print the joint success of ``auto`` on one interpreter, read by each."""
    print("\nJoint success of `auto` on one interpreter (rows), read by each (columns):\n")
    print(f"| eps | attacked | {' | '.join(READ)} |")
    print("|---" * (2 + len(READ)) + "|")
    for eps in (4, 8):
        for name in sorted(ATTACKED):
            rows = read(attack_path(eps, name, "auto"))
            mine = [row for row in rows if row["attack"] == "auto"]
            print(f"| {eps} | {name} | {' | '.join(joint(mine, each) for each in READ)} |")
        alone = [row for row in read(attack_path(eps, LATEST, "auto")) if row["attack"] not in ("auto", "noise")]
        print(f"| {eps} | nothing ({alone[0]['attack']}) | {' | '.join(joint(alone, each) for each in READ)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pointing", action="store_true")
    parser.add_argument("--attacks", action="store_true")
    parser.add_argument("--print", action="store_true", dest="show")
    parser.add_argument("--count", type=int)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--only", default="", help="beginning of the names of files, such as 4-rollout")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no attack after so many minutes")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.pointing:
        pointing(asked.count or 300)
    if asked.attacks:
        attack(asked.count or 100, asked.budget, asked.only, asked.minutes)
    if asked.show:
        show_pointing()
        show_attacks()
        show_transfer()


if __name__ == "__main__":
    main()
