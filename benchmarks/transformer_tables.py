"""The tables of ``benchmarks.transformers``, made of the rows in ``docs/results/transformers/`` alone."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import torch

import underfire as uf
from benchmarks.grid_tables import markdown

DOCS = Path(__file__).parent.parent / "docs"
ROWS, PAGE = DOCS / "results" / "transformers", DOCS / "transformers.md"
SHOWN = ("grad", "smoothgrad", "ig", "gradcam", "gradcam++", "layercam", "attention", "rollout", "chefer")
POINTING = {
    "scenes-resnet": ("grad", "gradcam", "lrp", "attnlrp"),
    "scenes-vit": (*SHOWN, "chefer-lrp", "attnlrp", "attnlrp:values"),
}
ATTACKED = ("rollout", "gradcam", "chefer", "grad", "attnlrp", "chefer-lrp")
READ = ("grad", "gradcam", "rollout", "chefer", "chefer-lrp", "attnlrp")
KINDS = ("auto", "adv2")
EPS = (4, 8)

Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """Read the rows of a file; none if it does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pointing_path(network: str, interpreter: str) -> Path:
    """The file of how the maps of an interpreter point."""
    return ROWS / f"pointing-{network}-{interpreter.replace(':', '_')}.csv"


def attack_path(eps: int, interpreter: str, kind: str) -> Path:
    """The file of an attack on the maps of an interpreter."""
    return ROWS / f"{eps}-{interpreter}-{kind}.csv"


def mean(values: list[float] | list[bool]) -> str:
    """A mean with its 95 % interval; that of a rate for booleans."""
    found = uf.metrics.interval(torch.tensor(values))
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def kept(row: Row, name: str) -> bool:
    """True if the map of ``name`` is nearer to the benign one than its limit."""
    return float(row[f"l1-{name}"]) < float(row[f"limit-{name}"])


def joint(rows: list[Row], name: str) -> str:
    """The share of images whose class is reached and whose map of ``name`` is kept."""
    return mean([row["success"] == "1" and kept(row, name) for row in rows])


def of(rows: list[Row], attack: str) -> list[Row]:
    """The rows of one attack or control."""
    return [row for row in rows if row["attack"] == attack]


def pointing_table() -> str:
    """Where the maps point."""
    head = ("mass on the object", "peak on the object", "correlation with another class", "L1 to another image", "n")

    def lines() -> Iterator[tuple[object, ...]]:
        for network, names in POINTING.items():
            for name in sorted(names):
                rows = read(pointing_path(network, name))
                if not rows:
                    continue
                mass, other = (mean([float(row[key]) for row in rows]) for key in ("mass", "other_class"))
                peaks = mean([float(row["peak"]) == 1 for row in rows])
                distance = sum(float(row["other_image"]) for row in rows) / len(rows)
                yield network, name, mass, peaks, other, f"{distance:.3f}", len(rows)

    return markdown(("network", "interpreter", *head), lines())


def attack_table() -> str:
    """Success of each attack, and the distance of the map that it attacked. Controls are shown once, with ``auto``."""
    head = ("attack", "steps", "class reached", "map kept", "joint success", "map L1", "limit", "n")

    def lines() -> Iterator[tuple[object, ...]]:
        for eps in EPS:
            for name in sorted(ATTACKED):
                for kind in KINDS:
                    rows = read(attack_path(eps, name, kind))
                    # The controls are in both files, and shown once.
                    labels = dict.fromkeys(row["attack"] for row in rows)
                    for label in [each for each in labels if kind == "auto" or each == kind]:
                        mine = of(rows, label)
                        yield (
                            eps,
                            name,
                            label,
                            "" if label == "noise" else mine[0]["steps"],
                            mean([row["success"] == "1" for row in mine]),
                            mean([kept(row, name) for row in mine]),
                            joint(mine, name),
                            f"{sum(float(row[f'l1-{name}']) for row in mine) / len(mine):.3f}",
                            f"{float(mine[0][f'limit-{name}']):.3f}",
                            len(mine),
                        )

    return markdown(("eps", "interpreter", *head), lines())


def transfer_table() -> str:
    """The joint success of ``auto`` on one interpreter, read by each; and of the attack on the class alone."""

    def lines() -> Iterator[tuple[object, ...]]:
        for eps in EPS:
            alone: list[Row] = []
            for name in sorted(ATTACKED):
                rows = read(attack_path(eps, name, "auto"))
                alone = of(rows, "bim") or alone
                if rows:
                    yield eps, name, *(joint(of(rows, "auto"), each) for each in READ)
            if alone:
                yield eps, "nothing (bim)", *(joint(alone, each) for each in READ)

    return markdown(("eps", "attacked", *READ), lines())


TABLES = {"pointing": pointing_table, "attacks": attack_table, "transfer": transfer_table}


def write_page() -> None:
    """Put the tables between their marks in docs/transformers.md."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        begin, end = f"<!-- table: {name} -->", f"<!-- end of table: {name} -->"
        before, found, rest = text.partition(begin)
        assert found, f"{PAGE} has no mark {begin}"
        assert end in rest, f"{PAGE} has no mark {end}"
        text = f"{before}{begin}\n\n{table()}\n\n{end}{rest.partition(end)[2]}"
    PAGE.write_text(text, encoding="utf-8")
