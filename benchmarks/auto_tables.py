"""The tables of ``benchmarks.auto``: ``auto`` against the published schedules, its budgets, and its edges."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from benchmarks.grid_tables import NAMES, markdown, shown
from underfire import metrics

ROWS = Path(__file__).parent.parent / "docs/results/auto"
COLUMNS = ("attack", "success", "confidence", "map_l1", "map_iou", "ssim", "edge_energy", "steps", "seconds")
TITLES = NAMES | {"smoothgrad": "SmoothGrad", "lrp": "LRP"}
SAID = {
    "bim": "prediction alone, 200",
    "auto": "**auto**, 200",
    "short": "ADV2, 200",
    "full": "ADV2, all steps",
    "auto-50": "auto, 50",
    "auto-100": "auto, 100",
    "auto-1000": "auto, 1,000",
    "auto-10000": "auto, 10,000",
    "advedge": "AdvEdge by auto, 200",
    "advedge+": "AdvEdge+ by auto, 200",
}
Rows = dict[str, dict[str, float]]
"""Measures by image."""


def limit_of(name: str) -> float:
    """The map distance below which a map is kept in a cell."""
    limit = json.loads((ROWS / f"{name}-limit.json").read_text())["joint_success_threshold"]
    return float(limit["map_l1_below"])


def read(name: str, kind: str) -> dict[str, Rows]:
    """Read the rows of a run, by attack or control and by image; empty if it has not been made."""
    path = ROWS / f"{name}-{kind}.csv"
    found: dict[str, Rows] = {}
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                image = {c: {"True": 1.0, "False": 0.0, "": np.nan}.get(row[c], row[c]) for c in COLUMNS[1:]}
                found.setdefault(row["attack"], {})[row["image"]] = {c: float(v) for c, v in image.items()}
    return found


def names() -> list[str]:
    """The names of the cells whose run by ``auto`` is finished, in the order of networks and interpreters."""
    found = {path.name.removesuffix("-auto.csv") for path in ROWS.glob("*-auto.csv")}
    order = list(TITLES)
    networks = ("resnet20", "densenet", "lite0")
    return sorted(found, key=lambda name: (networks.index(name.split("-")[0]), order.index(name.split("-")[1]), name))


def of_attack(name: str, kind: str) -> Rows:
    """The rows of the attack of one run, without its controls."""
    found = read(name, kind)
    return next((rows for attack, rows in found.items() if attack not in ("noise", "bim")), {})


def main_table() -> str:
    """The prediction-only attack, ``auto``, and ADV2, on the same images."""

    def lines() -> Iterator[tuple[object, ...]]:
        for name in names():
            network, interpreter, eps = name.split("-")
            runs = {"bim": read(name, "auto")["bim"]}
            runs |= {kind: rows for kind in ("auto", "short", "full") if (rows := of_attack(name, kind))}
            limit = limit_of(name)
            for kind, rows in runs.items():
                less = ""
                if kind in ("short", "full"):
                    less = shown(difference(runs["auto"], rows, "map_l1"), sign="+")
                yield (
                    network,
                    TITLES[interpreter],
                    f"{eps}/255",
                    SAID[kind],
                    len(rows),
                    f"{np.mean([row['steps'] for row in rows.values()]):.0f}",
                    shown(metrics.interval([row["success"] == 1 for row in rows.values()])),
                    shown(metrics.interval([row["map_l1"] for row in rows.values()], metrics.UNIT)),
                    less,
                    shown(metrics.interval(joint(rows, limit))),
                    f"{np.mean([row['confidence'] for row in rows.values()]):.2f}",
                )

    head = ("network", "map", "eps", "attack", "n", "steps", "success", "map L1", "auto's map L1 less this")
    return markdown((*head, "joint success", "confidence"), lines())


def limits() -> str:
    """The limit of a kept map in each cell, what set it, and how often chance passes it."""

    def lines() -> Iterator[tuple[object, ...]]:
        for name in names():
            network, interpreter, eps = name.split("-")
            found = json.loads((ROWS / f"{name}-limit.json").read_text())
            threshold, chance = found["joint_success_threshold"], found["chance"]
            yield (
                network,
                TITLES[interpreter],
                f"{eps}/255",
                f"{threshold['map_l1_below']:.3f}",
                threshold["set_by"].replace("_", " "),
                f"{threshold['by_noise']:.3f}",
                f"{chance['other_map']['mean']:.2f}",
                f"{chance['average_map']['mean']:.2f}",
            )

    head = ("network", "map", "eps", "limit", "set by", "limit by noise alone")
    return markdown((*head, "another map passes", "the average map passes"), lines())


def budgets() -> str:
    """How far the attacks come with how many gradients."""

    def lines() -> Iterator[tuple[object, ...]]:
        for name in names():
            for kind in ("auto-50", "auto-100", "auto", "auto-1000", "auto-10000", "short", "full"):
                rows = of_attack(name, kind)
                if rows and of_attack(name, "auto-50"):
                    yield (
                        *where(name),
                        SAID[kind],
                        len(rows),
                        shown(metrics.interval([row["success"] == 1 for row in rows.values()])),
                        shown(metrics.interval([row["map_l1"] for row in rows.values()], metrics.UNIT)),
                        shown(metrics.interval(joint(rows, limit_of(name)))),
                    )

    return markdown(("network", "map", "eps", "attack, gradients", "n", "success", "map L1", "joint success"), lines())


def needed() -> str:
    """How many gradients ``auto`` needs for the mean map distance that ADV2 reaches with all of its steps.

    Of the runs with budgets of 50, 100 and 200 that were made, the one that gets there first counts: steps of a smaller
    budget shrink earlier.

    MASK is left out: during an attack its maps are those of a few unrolled steps, not the honest ones.
    """

    def lines() -> Iterator[tuple[object, ...]]:
        for name in names():
            full, courses = of_attack(name, "full"), [course_of(name, kind) for kind in ("auto-50", "auto-100", "auto")]
            if full and any(courses) and "-mask-" not in name:
                reached = np.mean([row["map_l1"] for row in full.values()])
                steps = np.mean([row["steps"] for row in full.values()])
                share = np.mean([row["success"] == 1 for row in full.values()])
                near = [row for row in chain(*courses) if row["map_l1"] <= reached]
                enough = sorted(row["step"] for row in near if row["success"] >= share - 1e-9)
                yield (
                    *where(name),
                    f"{reached:.3f}",
                    f"{steps:.0f}",
                    f"{enough[0]:.0f}" if enough else "more than 200",
                    f"{enough[0] / steps:.2f}" if enough else "",
                )

    head = ("network", "map", "eps", "ADV2's mean map L1", "ADV2's gradients", "auto's gradients to reach it", "ratio")
    return markdown(head, lines())


def edges() -> str:
    """AdvEdge and AdvEdge+ against ADV2, all by ``auto``."""

    def lines() -> Iterator[tuple[object, ...]]:
        for name in names():
            plain = of_attack(name, "auto")
            for kind in ("auto", "advedge", "advedge+"):
                rows = of_attack(name, kind)
                if rows and of_attack(name, "advedge"):
                    pairs = [
                        shown(difference(rows, plain, measure), sign="+") if rows is not plain else ""
                        for measure in ("success", "map_l1", "ssim")
                    ]
                    yield (
                        *where(name),
                        "ADV2 by auto" if kind == "auto" else SAID[kind].removesuffix(", 200"),
                        len(rows),
                        *(f"{np.mean([row[m] for row in rows.values()]):.3f}" for m in ("success", "map_l1", "ssim")),
                        f"{np.mean([row['edge_energy'] for row in rows.values()]):.2f}",
                        *pairs,
                    )

    head = ("network", "map", "eps", "attack", "n", "success", "map L1", "image SSIM", "change on edges")
    return markdown((*head, "success, less ADV2's", "map L1, less ADV2's", "SSIM, less ADV2's"), lines())


def joint(rows: Rows, limit: float) -> list[bool]:
    """Which images have joint success."""
    return [row["success"] == 1 and row["map_l1"] < limit for row in rows.values()]


def difference(rows: Rows, other: Rows, measure: str) -> metrics.Interval:
    """The mean of ``rows`` less that of ``other``, on their common images."""
    common = [image for image in rows if image in other]
    sides = ([side[image][measure] for image in common] for side in (rows, other))
    if measure == "success":  # booleans, whose difference has the interval of two rates
        return metrics.paired_difference(*([value == 1 for value in side] for side in sides))
    return metrics.paired_difference(*sides)


def where(name: str) -> tuple[str, str, str]:
    """The network, map and radius of a cell, in words."""
    network, interpreter, eps = name.split("-")
    return network, TITLES[interpreter], f"{eps}/255"


def course_of(name: str, kind: str) -> list[dict[str, float]]:
    """The course of a run: ``step``, ``success``, ``map_l1`` and ``joint`` so far; empty if it has none."""
    path = ROWS / f"{name}-{kind}-course.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def tables() -> str:
    """All tables."""
    return "\n\n".join((main_table(), limits(), needed(), budgets(), edges()))
