"""Measure the maps of transformers' interpreters on scenes, and joint attacks on them.

    python -m benchmarks.transformers --pointing [--count 300]
    python -m benchmarks.transformers --attacks [--count 100] [--budget 100] [--only 4-rollout]
    python -m benchmarks.transformers --print | --page

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
from benchmarks import transformer_tables
from benchmarks.transformer_tables import ATTACKED, EPS, KINDS, POINTING, READ, attack_path, pointing_path
from underfire.attacks import AttackResult, preset


def write(path: Path, rows: list[dict[str, object]]) -> None:
    """Write a table, with five digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in row.items()})


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """The correlation of two maps N x h x w over places, N; 0 for constant maps."""
    a, b = (maps.flatten(1) - maps.flatten(1).mean(1, keepdim=True) for maps in (first, second))
    return torch.nn.functional.cosine_similarity(a, b, dim=1)


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
    for eps in EPS:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pointing", action="store_true")
    parser.add_argument("--attacks", action="store_true")
    parser.add_argument("--print", action="store_true", dest="show")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/transformers.md")
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
        print("\n\n".join(table() for table in transformer_tables.TABLES.values()))
    if asked.page:
        transformer_tables.write_page()


if __name__ == "__main__":
    main()
