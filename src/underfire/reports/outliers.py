"""The outlier analysis of runs as tables for an 80-column terminal, and as a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from underfire.metrics import Interval
from underfire.reports.columns import as_text
from underfire.reports.output import writing
from underfire.runs.outliers import ImageOutlier, Outliers
from underfire.runs.run import Run
from underfire.text import plain

HEADINGS = {
    "half_mass_area": "half-mass area",
    "mass_spread": "mass spread",
    "margin_next": "margin to next",
    "margin_target": "margin to target",
}
MEANINGS = {
    "half_mass_area": "the share of the image that holds half of the benign map's mass",
    "mass_spread": "the root mean square distance of the benign map's mass from its centre",
    "margin_next": "the logit of the image's own class, unattacked, minus that of the next class",
    "margin_target": "the logit of the image's own class, unattacked, minus that of the target class",
}
_LEGEND = (
    "\nRank correlations (Spearman) of each value with the distance of the map under attack to the wanted one, with 95 "
    "% intervals. far: maps whose distance is an outlier of the box plot. half-mass area: the share of the image that "
    "holds half of the benign map's mass. mass spread: the root mean square distance of that mass from its centre. "
    "margin to next, to target: the logit of the image's own class, unattacked, minus that of the next class, or "
    "of the target class; images with low margins lie near a decision boundary."
)


def outlier_tables(*runs: Run) -> Group:
    """Show the outlier analysis of one or more runs: the correlations, and a plain sentence for each attack."""
    parts: list[Text | Table] = []
    for run in runs:
        parts.append(Text(f"\nOutliers in {plain(str(run.path))}", style="bold"))
        found = run.outliers()
        parts.append(_table(found))
        parts += [Text(f"{plain(each.sentence)}") for each in found]
    return Group(*parts, Text(_LEGEND, style="dim"))


def _table(found: list[Outliers]) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("attack / maps", overflow="fold")
    table.add_column("far", justify="right")
    for heading in HEADINGS.values():
        table.add_column(heading, justify="right")
    for each in found:
        far = f"{sum(image.outlier for image in each.images)}/{len(each.images)}"
        cells = [_cell(each.correlations, name) for name in HEADINGS]
        table.add_row(Text(f"{plain(each.attack)} / {plain(each.interpreter)}"), far, *cells)
    return table


def _cell(correlations: Mapping[str, Interval], name: str) -> str:
    found = as_text(correlations[name].to_dict(), 2, signed=True) if name in correlations else None
    return "-" if found is None else f"{found[0]}\n{found[1]},{found[2]}"


def write_outliers(run: Run) -> Path:
    """Write ``outliers.csv`` into the run's folder: a row for each attack, interpreter and image. Raises StoreError."""
    path = run.path / "outliers.csv"
    with writing(path, "table") as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(ImageOutlier)])
        writer.writeheader()
        for each in run.outliers():
            writer.writerows(each.rows())
    return path
