"""The page of a transfer: matrices of attacks and of what reads them, as heat maps and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from underfire.attacks.measures import MEASURES
from underfire.reports.account import Interval
from underfire.reports.blocks import Head
from underfire.reports.document import Section, write_document
from underfire.reports.heatmap import HeatMap, heat_map
from underfire.reports.sortable import Cell, Column, SortableTable, TableRow, headings, number_cell
from underfire.reports.transfer import called
from underfire.reports.words import listed, p_value
from underfire.text import plain

Row = Mapping[str, Any]

SHOWN = ("joint_success", "success", "untargeted_success", "map_l1", "map_l1_target", "map_iou")
"""The measures in the table."""
KINDS = {"attack": "attack", "control": "control", "noise": "other", "reseeded": "other"}
"""The style of a row of the table, by the kind of the attack or control."""


def write_transfer_page(rows: Sequence[Row], out: Path, title: str | None = None) -> Path:
    """Write the page of a transfer. It needs no other file.

    Args:
        rows: the results: ``Transfer.rows()``, or ``read_tables`` of the transfer's folder.
        out: the HTML file. Its folder is made if it does not exist.
        title: the page's title; if None, it is made from the attacks and the classifiers.

    Returns:
        ``out``.

    Raises:
        StoreError: ``out`` cannot be written.
    """
    source, classifiers, readers = rows[0]["source_classifier"], _names(rows, "classifier"), _names(rows, "interpreter")
    attacks = list(dict.fromkeys(plain(row["attack"]) for row in rows if row["kind"] == "attack"))
    said = plain(title) if title is not None else f"Transfer of {listed(attacks)} from {plain(source)}"
    maps = [block for name in classifiers for block in _of_classifier(rows, name, len(classifiers) > 1)]
    if classifiers != [source]:
        maps += _between_classifiers(rows)
    counts = [next(row for row in rows if row["classifier"] == name) for name in classifiers]
    n = listed([f"{row['n']} of {row['considered']} ({plain(row['classifier'])})" for row in counts])
    text = (
        f"Images that {listed(attacks)} made against {plain(source)} are read again by {listed(_plain(classifiers))} "
        f"with the maps of {listed(_plain(readers))}. Nothing was attacked again. Only images count that the reading "
        f"classifier gets right when clean: {n}."
    )
    sections = [
        Section("findings", "", [Head(said, text)]),
        Section("matrix", "Matrices", maps, _MATRIX, "Matrices"),
        Section("numbers", "Numbers", [_table(rows)], _NUMBERS, "Numbers"),
    ]
    return write_document(out, said, sections)


_MATRIX = (
    "Rows are the attacks, with the interpreters that they attacked behind a slash, and their controls. Columns are "
    "what reads. Point at a cell for its 95 % interval and its number of images; the tables have them, too."
)
_NUMBERS = (
    "Means over the images that count, with a 95 % interval below each. ↑ means that higher is better for the "
    "attack, ↓ that lower is. Click on a heading to sort; point at it to read what it means. Holm p is the p-value "
    "of the difference in joint success to the attack on the prediction alone, corrected for all such comparisons "
    "of one classifier."
)


def _of_classifier(rows: Sequence[Row], classifier: str, several: bool) -> list[HeatMap]:
    """Make the matrices of one classifier: joint success and map distance by attack and by interpreter that reads."""
    own = [row for row in rows if row["classifier"] == classifier]
    readers = _names(own, "interpreter")
    kept = not _other_map(own)
    by = f", {plain(classifier)}" if several else ""
    joint = [row for row in own if row["kind"] != "reseeded"]
    names, values = _matrix(joint, "joint_success", readers)
    chances = {row["interpreter"]: row["chance_other_map"] for row in own if row["kind"] == "attack"}
    names, values = [*names, "other image's map"], [*values, [chances.get(name) for name in readers]]
    distances = _matrix(own, "map_l1" if kept else "map_l1_target", readers)
    return [
        heat_map(
            f"Joint success{by}",
            "Share of images whose class was reached, and whose map is below the limit of the classifier and "
            "interpreter that read. The last row says how often the map of another image would pass.",
            names,
            readers,
            values,
            row_title="attack / attacked",
            column_title="read by",
        ),
        heat_map(
            f"Map distance{by}",
            f"Mean absolute difference from the {'benign' if kept else 'wanted'} map, from 0 to 1. A map that the "
            "attack moves no farther than noise does not show it.",
            distances[0],
            readers,
            distances[1],
            percent=False,
            row_title="attack / attacked",
            column_title="read by",
        ),
    ]


def _between_classifiers(rows: Sequence[Row]) -> list[HeatMap]:
    """Make the matrices of classes by attack and by classifier that reads."""
    classifiers = _names(rows, "classifier")
    attacked = [row for row in rows if row["kind"] in ("attack", "control")]
    # All interpreters of a classifier have the same class: the first one's rows will do.
    firsts = {name: next(row["interpreter"] for row in rows if row["classifier"] == name) for name in classifiers}
    found = [row for row in attacked if row["interpreter"] == firsts[row["classifier"]]]
    blocks = []
    for measure, title, about in (
        (
            "success",
            "Target class reached",
            "Share of images with the class that the attack wants.",
        ),
        ("untargeted_success", "Own class left", "Share of images with any wrong class."),
    ):
        names, values = _matrix(found, measure, classifiers, "classifier")
        blocks.append(
            heat_map(title, about, names, classifiers, values, row_title="attack / attacked", column_title="classifier")
        )
    return blocks


def _matrix(
    rows: Sequence[Row], measure: str, columns: Sequence[str], across: str = "interpreter"
) -> tuple[list[str], list[list[Interval | None]]]:
    """Arrange a measure by attack or control, and by interpreter or classifier."""
    several = _several_eps(rows)
    labels = list(dict.fromkeys(row["cell"] for row in rows))
    cells = {(row["cell"], row[across]): row[measure] for row in rows}
    named = {row["cell"]: called(row, several) for row in rows}
    return [named[label] for label in labels], [[cells.get((label, name)) for name in columns] for label in labels]


def _table(rows: Sequence[Row]) -> SortableTable:
    several, classifiers = _several_eps(rows), len(_names(rows, "classifier")) > 1
    shown = [MEASURES[name] for name in SHOWN if name != "map_l1_target" or _other_map(rows)]
    columns = (*headings(shown), Column("limit", "the map distance below which a map counts"), Column("Holm p"))
    made = []
    for row in rows:
        p = row["joint_success_p_holm"]
        tested = None if p is None else Cell(p_value(p).removeprefix("p = ").removeprefix("p "), "", p)
        limit = None if row["limit"] is None else Cell(f"{row['limit']:.3f}", "", row["limit"])
        cells = (*(number_cell(row[measure.name], measure.digits) for measure in shown), limit, tested)
        names = (called(row, several), plain(row["interpreter"]), *([plain(row["classifier"])] if classifiers else []))
        made.append(TableRow(names, cells, row["n"], kind=KINDS[row["kind"]]))
    heads = ("attack / attacked", "read by", *(["classifier"] if classifiers else []))
    return SortableTable("All attacks and controls, by what reads", heads, columns, tuple(made))


def _other_map(rows: Sequence[Row]) -> bool:
    """Return True if an attack wants another map than the benign one."""
    return any(row["map_l1"] != row["map_l1_target"] for row in rows if row["kind"] == "attack")


def _several_eps(rows: Sequence[Row]) -> bool:
    return len({row["eps"] for row in rows if row["eps"] is not None}) > 1


def _names(rows: Sequence[Row], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _plain(names: Sequence[str]) -> list[str]:
    return [plain(name) for name in names]
