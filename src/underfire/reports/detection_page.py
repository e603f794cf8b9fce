"""The section of a page on detectors: what they find of each attack, and what gets past them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from underfire.reports.account import Account
from underfire.reports.detected import Detected
from underfire.reports.sortable import Column, SortableTable, TableRow, number_cell
from underfire.text import plain

DETECTORS = (
    "An image counts as noticed if its score is above the threshold, which was chosen on other images. Triple success "
    "is what an attacker must reach: class reached, all attacked maps kept, and not noticed. An attack that does not "
    "know the detector says nothing of its robustness."
)

COLUMNS = (
    Column("AUC", "the chance that a successful attacked image scores higher than a clean one; 0.5 is chance"),
    Column("detected", "share of successful attacked images above the threshold; for clean and noise, of false alarms"),
    Column("joint", "class reached and all attacked maps kept, of all images", "↑"),
    Column("triple", "class reached, all attacked maps kept, and not noticed, of all images", "↑"),
)
NAMES = ("auc", "detection", "joint_success", "triple_success")
KNOWN = {True: "knows the detector", False: "does not know the detector", None: ""}


def detector_table(accounts: Sequence[Account]) -> SortableTable | None:
    """Make the table of all detectors that have scored the runs of a page; None if none has."""
    runs = {id(account.run): account for account in accounts}
    rows = [
        _row(account, row, several=len(runs) > 1)
        for account in runs.values()
        if (held := Detected.of(account.run.path)) is not None
        for row in held.rows
    ]
    heads = ("attack or control", "detector", *(("run",) if len(runs) > 1 else ()))
    return SortableTable("What detectors notice", heads, COLUMNS, tuple(rows)) if rows else None


def _row(account: Account, row: Mapping[str, Any], several: bool) -> TableRow:
    about = account.about() | {"attack": plain(row["attack"])}
    if row["kind"] != "attack":
        del about["attack"]  # a control stands beside all attacks of its run
    run = (plain(account.run.name),) if several else ()
    return TableRow(
        names=(plain(row["cell"]), plain(row["detector"]), *run),
        cells=tuple(number_cell(row[name], 3) for name in NAMES),
        n=row["n"],
        what=KNOWN[row["adaptive"]],
        kind=row["kind"] if row["kind"] in ("attack", "control") else "other",
        about=about,
    )
