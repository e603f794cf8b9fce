"""The tables of ``benchmarks.photographs``, made of the rows that it wrote."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.grid_tables import markdown, shown
from underfire import metrics
from underfire.attacks import MEASURES as KNOWN

ROWS = Path(__file__).parent.parent / "docs/results/photographs"
COLUMNS = ("attack", "correct_before", "success", "confidence", "map_l1", "map_iou", "ssim", "edge_energy", "seconds")
NAMES = {"cam": "CAM", "grad": "Grad", "gradcam": "Grad-CAM", "smoothgrad": "SmoothGrad", "lrp": "LRP", "mask": "MASK"}
READINGS = ("noise", "reseeded", "alone", "adv2", "auto", "advedge", "advedge+")


@dataclass(frozen=True)
class Cell:
    """A network, an interpreter, a perturbation, and its radius in levels of 1/255 (empty without a ball)."""

    network: str
    interpreter: str
    perturbation: str
    eps: str


def name_of(cell: Cell) -> str:
    return "-".join(part for part in (cell.network, cell.interpreter, cell.perturbation, cell.eps) if part)


def rows_of(cell: Cell) -> list[dict[str, Any]]:
    """Read the rows of a cell; none if it has no file."""
    path = ROWS / f"{name_of(cell)}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def blocks_of(cell: Cell, attack: str) -> set[int]:
    """The blocks of a cell that are done with one attack."""
    return {int(row["block"]) for row in rows_of(cell) if row["attack"] == attack}


def cells() -> list[Cell]:
    found = []
    for path in sorted(ROWS.glob("*.csv")):
        network, interpreter, perturbation, *eps = path.stem.split("-")
        found.append(Cell(network, interpreter, perturbation, *(eps or [""])))
    order = list(NAMES)
    return sorted(
        found,
        key=lambda cell: (cell.network, cell.perturbation != "pgd", order.index(cell.interpreter), -int(cell.eps or 0)),
    )


def by_reading(cell: Cell) -> dict[str, dict[str, dict[str, float]]]:
    """The numbers of correctly classified photographs, by what was done to them and by photograph."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows_of(cell):
        if row["correct_before"] == "True":
            name = row["attack"] if row["attack"] in READINGS else "alone"
            numbers = {
                name: {"True": 1.0, "False": 0.0, "": np.nan}.get(row[name], row[name])
                for name in COLUMNS
                if name not in ("attack", "correct_before")
            }
            found.setdefault(name, {})[row["photo"]] = {name: float(value) for name, value in numbers.items()}
    limit = np.percentile([numbers["map_l1"] for numbers in found["noise"].values()], 95)
    for readings in found.values():
        for numbers in readings.values():
            numbers["joint"] = float(numbers["success"] == 1 and numbers["map_l1"] < limit)
    return found


MEASURES = ("joint", "success", "map_l1", "map_iou", "ssim", "edge_energy")
BOUNDS = {name: KNOWN[name].bounds for name in MEASURES if name in KNOWN} | {"joint": metrics.UNIT}
HEADINGS = ("joint success", "success", "map L1", "IoU@0.5", "image SSIM", "on edges")
ALONE = {"pgd": "PGD", "cw": "C&W", "stadv": "StAdv"}
SAID = {name: name for name in READINGS} | {"adv2": "ADV2", "advedge": "AdvEdge", "advedge+": "AdvEdge+"}


SHARES = ("joint", "success")
"""The measures that are true or false for a photograph: their means are rates, with intervals of rates."""


def values_of(rows: Iterable[dict[str, float]], measure: str) -> list[float] | list[bool]:
    """List a measure: as booleans if it is true or false."""
    return [bool(row[measure]) for row in rows] if measure in SHARES else [row[measure] for row in rows]


def by_cell() -> str:
    def lines() -> Iterator[tuple[object, ...]]:
        for cell in cells():
            found = by_reading(cell)
            for name in READINGS:
                if name not in found:
                    continue
                numbers = list(found[name].values())
                control = name in ("noise", "reseeded")
                parts = [
                    ""
                    if (control and measure in SHARES) or np.isnan(numbers[0][measure])
                    else shown(metrics.interval(values_of(numbers, measure), BOUNDS[measure]))
                    for measure in MEASURES
                ]
                place = (cell.network.replace("lite", "Lite"), NAMES[cell.interpreter], cell.eps and f"{cell.eps}/255")
                said = ALONE[cell.perturbation] if name == "alone" else SAID[name]
                by = (
                    ""
                    if cell.perturbation == "pgd" or name in ("noise", "reseeded", "alone")
                    else f" by {ALONE[cell.perturbation]}"
                )
                yield (*place, f"{said}{by}", len(numbers), *parts)

    return markdown(("network", "map", "eps", "read after", "n", *HEADINGS), lines())


def against() -> str:
    """Differences between attacks on the same photographs."""

    def lines() -> Iterator[tuple[object, ...]]:
        for cell in cells():
            found = by_reading(cell)
            for name, other in (("adv2", "alone"), ("auto", "adv2"), ("advedge", "adv2"), ("advedge+", "adv2")):
                if name not in found or other not in found:
                    continue
                both = [photo for photo in found[name] if photo in found[other]]
                differences = (
                    shown(
                        metrics.paired_difference(
                            values_of((found[name][photo] for photo in both), measure),
                            values_of((found[other][photo] for photo in both), measure),
                            bounds=BOUNDS[measure],
                        ),
                        sign="+",
                    )
                    for measure in MEASURES
                )
                place = (cell.network.replace("lite", "Lite"), NAMES[cell.interpreter], cell.eps and f"{cell.eps}/255")
                less = f"{SAID[name]} less {ALONE[cell.perturbation] if other == 'alone' else SAID[other]}"
                by = "" if cell.perturbation == "pgd" else f", by {ALONE[cell.perturbation]}"
                yield (*place, less + by, len(both), *differences)

    return markdown(("network", "map", "eps", "difference", "n", *HEADINGS), lines())


def tables() -> str:
    return f"{by_cell()}\n\n{against()}"
