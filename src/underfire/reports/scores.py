"""The scores that a detector gives to images: rows, a table of the most suspicious ones, and a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from underfire.data import ImageData
from underfire.detectors.contract import FittedDetector
from underfire.errors import DataError, StoreError
from underfire.files import make_folder
from underfire.text import counted, first_few, plain

COLUMNS = ("image_id", "path", "score", "flagged", "error")
"""The entries of rows. ``error`` says why an image could not be read; then it has no score."""

BATCH = 64


def scores_of(fitted: FittedDetector, data: ImageData, count: int | None = None) -> list[dict[str, Any]]:
    """Score the images of a data set: entries with the keys ``COLUMNS``, in the order of the data.

    Args:
        count: the number of images, from the first; all if None.

    Raises:
        DataError: no image can be read.
    """
    classifier, rows = fitted.system.classifier, list[dict[str, Any]]()
    indices = range(len(data) if count is None else min(count, len(data)))
    for batch in data.batches(classifier.image_size, classifier.channels, BATCH, indices, classifier.resizing):
        values = fitted.scores(batch.images).tolist() if batch.records else []
        for record, value in zip(batch.records, values, strict=True):
            rows.append(_row(record.image_id, record.path, value, value > fitted.threshold, ""))
        rows += [_row("", path, None, None, why) for path, why in batch.unreadable]
    if all(row["score"] is None for row in rows):
        raise DataError(f"no image of {data.name!r} can be read: {first_few([row['error'] for row in rows])}")
    return rows


def _row(*values: Any) -> dict[str, Any]:
    return dict(zip(COLUMNS, values, strict=True))


def scores_table(fitted: FittedDetector, rows: Sequence[dict[str, Any]], most: int) -> Group:
    """Show how many images are above the threshold, and the ``most`` suspicious ones."""
    known = [row for row in rows if row["score"] is not None]
    flagged = sum(row["flagged"] for row in known)
    share = f"{100 * fitted.false_positives:g} %"
    parts: list[Text | Table] = [
        Text(
            f"{flagged} of {counted(len(known), 'image')} are above the threshold {fitted.threshold:.4g}; of "
            f"benign images like the calibration images, {share} would be."
        )
    ]
    if len(known) < len(rows):
        parts.append(Text(f"{counted(len(rows) - len(known), 'image')} could not be read.", style="yellow"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("most suspicious", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("")
    for row in sorted(known, key=lambda each: -each["score"])[:most]:
        table.add_row(Text(plain(row["image_id"])), f"{row['score']:.4g}", "above" if row["flagged"] else "")
    return Group(*parts, table)


def check_place(path: Path) -> None:
    """Make the folder of a file of scores. Raises StoreError if the file cannot be written there."""
    make_folder(path.parent)
    if path.is_dir():
        raise StoreError(f"{path} is a folder; give the name of a file.")


def write_scores(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write scores as a CSV file. Raises StoreError if it cannot be written."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
