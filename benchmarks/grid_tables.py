"""The tables of ``benchmarks.grid``: its cells' measures, AdvEdge(+) against ADV2, thresholds, and other targets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from underfire import metrics

Rows = dict[str, dict[str, Any]]
"""Rows of a run's table by image, of one attack."""
MEASURES: dict[str, Callable[[dict[str, Any]], float | bool]] = {
    "joint": lambda row: row["joint_success"],
    "success": lambda row: row["success"],
    "map L1": lambda row: row["map_l1"],
    "IoU@0.5": lambda row: row["map_iou"],
    "image SSIM": lambda row: row["ssim"],
    "on edges": lambda row: row["edge_energy"],
}
"""What stands in every table; ``on edges`` is the share of the change's energy on pixels with e > 0.1."""
NAMES = {"cam": "CAM", "grad": "Grad", "gradcam": "Grad-CAM", "mask": "MASK", "rts": "RTS"}


@dataclass(frozen=True)
class Cell:
    """A finished run. ``rows`` are of its first interpreter and of correctly classified images, by attack and image."""

    name: str
    config: dict[str, Any]
    folder: Path
    rows: dict[str, Rows] = field(init=False)
    summary: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, Rows] = {}
        for row in pq.read_table(self.folder / "results.parquet").to_pylist():
            if row["correct_before"] and row["interpreter"] == self.interpreter:
                found.setdefault(row["attack"], {})[row["image_id"]] = row
        object.__setattr__(self, "rows", found)
        object.__setattr__(self, "summary", json.loads((self.folder / "summary.json").read_text()))

    @property
    def control(self) -> str | None:
        found: str | None = self.summary.get("control")
        return found

    @property
    def limit(self) -> float:
        """Of joint success, in map L1."""
        return float(self.summary["joint_success_threshold"][self.interpreter]["map_l1_below"])

    @property
    def attack(self) -> str:
        return str(self.config["attack"])

    @property
    def interpreter(self) -> str:
        return str(self.config["interpreters"][0])

    @property
    def place(self) -> tuple[str, str, str]:
        """Network, interpreter and perturbation."""
        network = self.config["classifier"].removeprefix("cifar10-")
        return network, NAMES[self.interpreter], self.config.get("perturbation", "pgd")


def finished(cells: dict[str, dict[str, Any]], out: Path) -> list[Cell]:
    return [Cell(name, cells[name], out / name) for name in cells if (out / name / "summary.json").exists()]


def on_one_scale(cells: list[Cell]) -> list[Cell]:
    """The cells, joint success counted below PGD's limit everywhere: that of noise of plus and minus its eps on the
    same images, as ``--noise-eps`` has it, and not of noise as small as C&W's changes. Without a cell of PGD there
    (``--only``) it stays each attack's own."""
    limits = {cell.place[:2]: cell.limit for cell in cells if cell.name.endswith(f"pgd-adv2-{cell.interpreter}")}
    for cell in cells:
        if cell.place[2] != "pgd" and cell.place[:2] in limits:
            for row in (row for rows in cell.rows.values() for row in rows.values()):
                row["joint_success"] = row["success"] and row["map_l1"] < limits[cell.place[:2]]
    return cells


def shown(interval: metrics.Interval, sign: str = "") -> str:
    if interval.mean is None:
        return ""
    mean, low, high = (f"{value:{sign}.3f}" for value in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def measured(rows: Rows) -> list[str]:
    return [shown(metrics.interval([of(row) for row in rows.values()])) for of in MEASURES.values()]


def markdown(head: tuple[str, ...], lines: Iterator[tuple[object, ...]]) -> str:
    first = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*first, *(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)])


PLACE = ("network", "map", "by")


def by_cell(cells: list[Cell]) -> str:
    """A row per cell, and one per prediction-only control."""

    def lines() -> Iterator[tuple[object, ...]]:
        for cell in cells:
            if "target_map" in cell.config or "edge_threshold" in cell.config:
                continue
            for attack in (cell.control, cell.attack):
                rows = cell.rows.get(attack or "")
                if rows:
                    reached = [row["confidence"] for row in rows.values() if row["success"]]
                    seconds = sum(row["seconds"] for row in rows.values()) / len(rows)
                    sure = shown(metrics.interval(reached)) if reached else ""
                    yield (*cell.place, attack, len(rows), *measured(rows), sure, f"{seconds:.1f}")

    return markdown((*PLACE, "attack", "n", *MEASURES, "confidence", "s/image"), lines())


def against_adv2(cells: list[Cell]) -> str:
    """AdvEdge and AdvEdge+ less ADV2, image by image."""
    plain = {
        cell.place: cell.rows["adv2"] for cell in cells if cell.attack == "adv2" and "target_map" not in cell.config
    }

    def lines() -> Iterator[tuple[object, ...]]:
        for cell in cells:
            theirs = plain.get(cell.place)
            if cell.attack == "adv2" or "edge_threshold" in cell.config or theirs is None:
                continue
            ours = cell.rows[cell.attack]
            ids = [image_id for image_id in ours if image_id in theirs]
            differences = []
            for of in MEASURES.values():
                pair = ([of(rows[image_id]) for image_id in ids] for rows in (ours, theirs))
                differences.append(shown(metrics.paired_difference(*pair), sign="+"))
            yield (*cell.place, cell.attack, len(ids), *differences)

    return markdown((*PLACE, "attack less adv2", "n", *MEASURES), lines())


def by_threshold(cells: list[Cell]) -> str:
    """AdvEdge+ by its threshold, beside the prediction-only attack on the same pixels."""

    def lines() -> Iterator[tuple[object, ...]]:
        for cell in cells:
            if "edge_threshold" in cell.config:
                for attack in (cell.control or "", cell.attack):
                    rows = cell.rows[attack]
                    yield (cell.config["edge_threshold"], attack, len(rows), *measured(rows))

    return markdown(("threshold", "attack", "n", *MEASURES), lines())


def toward_targets(cells: list[Cell]) -> str:
    """How far maps are from another target than the benign map, as a share of the benign map's distance to it."""

    def lines() -> Iterator[tuple[object, ...]]:
        for cell in cells:
            if "target_map" in cell.config and cell.control is not None:
                rows, clean, alone = cell.rows["adv2"], cell.rows["clean"], cell.rows[cell.control]
                success = shown(metrics.interval([row["success"] for row in rows.values()]))
                joint = shown(metrics.interval([row["joint_success"] for row in rows.values()]))
                away = shown(metrics.interval([row["map_l1_target"] for row in rows.values()]))
                before = sum(clean[image_id]["map_l1_target"] for image_id in rows)
                shares = [sum(each[i]["map_l1_target"] for i in rows) / before for each in (rows, alone)]
                network, interpreter, _ = cell.place
                parts = (f"{share:.3f}" for share in shares)
                yield (network, interpreter, cell.config["target_map"], len(rows), success, joint, away, *parts)

    head = ("network", "map", "target", "n", "success", "joint", "L1 to target", "of the benign map's", "control's")
    return markdown(head, lines())
