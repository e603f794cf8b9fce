"""The rows of a page's tables: attacks, controls and chance by interpreter, and results by true class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from underfire.attacks.measure import Measure
from underfire.reports.account import Account, correct_together
from underfire.reports.classes import class_columns, worth_a_section
from underfire.reports.columns import chance_rows, page_columns
from underfire.reports.outliers import HEADINGS, MEANINGS
from underfire.reports.sentences import names_of
from underfire.reports.sortable import Cell, Column, SortableTable, TableRow, headings, number_cell
from underfire.reports.words import p_value
from underfire.runs.by_class import by_class
from underfire.text import plain

CONTROLS = {
    "clean": "unchanged",
    "reseeded": "unchanged, other seed",
    "noise": "random noise",
    "control": "prediction only",
}
"""The change of the images, by the role of a control."""


def numbers_table(accounts: Sequence[Account]) -> SortableTable:
    """Make the table of all measures: for each attack and interpreter, the attack, its controls, and the difference."""
    measures = _union(page_columns(account) for account in accounts)
    names, tested = Names(accounts), _tested(accounts)
    rows: list[TableRow] = []
    for number, account in enumerate(accounts):
        for interpreter in account.part.interpreters:
            for found in _of(account, interpreter, measures):
                row = names.row(account, interpreter, *found)
                cell = tested.get((number, interpreter)) if row.kind == "difference" else None
                rows.append(replace(row, cells=(*row.cells, cell)) if tested else row)
    columns = (*headings(measures), *((P_COLUMN,) if tested else ()))
    return SortableTable("All attacks and controls", ("attack or control", *names.heads), columns, tuple(rows))


P_COLUMN = Column(
    "Holm p",
    "the probability of a difference in joint success at least as large as this one, if attack and control were alike "
    "(sign-flip test, image by image), corrected by Holm's method for all comparisons on this page; below it, the "
    "p-value without correction",
)
"""The column of p-values, in the rows of differences."""


def _tested(accounts: Sequence[Account]) -> dict[tuple[int, str], Cell]:
    """Make the cells of p-values of the differences in joint success, corrected for all comparisons on the page.

    Returns:
        The cells by the number of the account and the interpreter that reads. Attacks without a prediction-only control
        are left out.
    """
    return {
        key: Cell(p_value(held).removeprefix("p = ").removeprefix("p "), p_value(p), held)
        for key, (p, held) in correct_together(accounts).items()
    }


_Found = tuple[str, str, str, Mapping[str, Any], Sequence[Measure]]
"""A name, a remark, a kind, intervals by measure, and the measures to show."""


def _of(account: Account, interpreter: str, measures: Sequence[Measure]) -> list[_Found]:
    part = account.part
    rows: list[_Found] = []
    first = [role for role in ("attack", "control") if part.has(role)]
    for role in [*first, *(role for role in part.names if role not in first)]:
        what = CONTROLS.get(role, "")
        kind = role if role in ("attack", "control") else "other"
        rows.append((plain(part.names[role]), what, kind, account.group(role, interpreter), measures))
    difference = account.difference(interpreter)
    if difference is not None:
        what = f"{plain(part.attack)} - {plain(part.control)}, paired"
        rows.insert(2, ("difference", what, "difference", difference, measures))
    rows += [(name, "chance", "other", group, measures) for name, group in chance_rows(account, interpreter)]
    return rows


class Names:
    """The texts of the first columns: the interpreter, and what else tells the attacks of a page apart."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.several = len({name for account in accounts for name in account.part.interpreters}) > 1
        differ = names_of(accounts)
        # With several attacks, controls are told apart by the attack beside them.
        self.attacks, self.classifiers, self.folders = (name in differ for name in ("attack", "classifier", "folder"))

    @property
    def heads(self) -> list[str]:
        parts = (
            (self.several, "maps of"),
            (self.attacks, "beside"),
            (self.classifiers, "classifier"),
            (self.folders, "run"),
        )
        return [head for shown, head in parts if shown]

    def texts(self, account: Account, interpreter: str, attack: bool = True) -> list[str]:
        """Return the texts of a row; with ``attack`` set to False, without the attack beside it."""
        part = account.part
        read = plain(interpreter) + (", not attacked" if interpreter in part.readers else "")
        parts = (
            (self.several, read),
            (self.attacks and attack, plain(part.attack)),
            (self.classifiers, part.classifier),
            (self.folders, plain(account.run.name)),
        )
        return [text for shown, text in parts if shown]

    def row(
        self,
        account: Account,
        interpreter: str,
        name: str,
        what: str,
        kind: str,
        group: Mapping[str, Any],
        measures: Sequence[Measure],
    ) -> TableRow:
        signed = kind == "difference"
        return TableRow(
            names=(name, *self.texts(account, interpreter)),
            cells=tuple(number_cell(group.get(measure.name), measure.digits, signed) for measure in measures),
            n=group["joint_success"]["n"],
            what=what,
            kind=kind,
            about=account.about(interpreter),
        )


def class_table(accounts: Sequence[Account]) -> SortableTable | None:
    """Make the table by true class; None if no attack has few classes with several images each."""
    shown = [account for account in accounts if worth_a_section(account)]
    if not shown:
        return None
    measures, names = _union(class_columns(account) for account in shown), Names(accounts)
    rows = []
    for account in shown:
        for interpreter in account.part.interpreters:
            for result in by_class(account.part, interpreter):
                cells = tuple(number_cell(result.measures.get(m.name), m.digits) for m in measures)
                texts = names.texts(account, interpreter)
                rows.append(TableRow((result.name, *texts), cells, result.n, about=account.about(interpreter)))
    return SortableTable("Results by class", ("class", *names.heads), headings(measures), tuple(rows))


def outlier_table(accounts: Sequence[Account]) -> SortableTable | None:
    """Make the table of outliers: far maps, and what goes with the distance that maps end at; see ``Run.outliers``.

    None if there are too few images for any correlation.
    """
    names, rows = Names(accounts), list[TableRow]()
    for account in accounts:
        found = {each.interpreter: each for each in account.run.outliers() if each.cell == account.part.cell.label}
        for interpreter in account.part.interpreters:
            correlations = {name: each.to_dict() for name, each in found[interpreter].correlations.items()}
            images = found[interpreter].images
            far = sum(image.outlier for image in images)
            cells = [number_cell(correlations.get(name), 2, signed=True) for name in HEADINGS]
            share = Cell(str(far), "", far / max(len(images), 1))
            texts = (plain(account.part.attack), *names.texts(account, interpreter, attack=False))
            rows.append(TableRow(texts, (share, *cells), len(images), about=account.about(interpreter)))
    if not any(cell for row in rows for cell in row.cells[1:]):
        return None
    heads = ("attack", *(head for head in names.heads if head != "beside"))
    return SortableTable("Outliers and what goes with them", heads, OUTLIER_COLUMNS, tuple(rows))


OUTLIER_COLUMNS = (
    Column("far maps", "the number of images whose map distance is unusually large: above Q3 + 1.5 (Q3 - Q1)"),
    *(
        Column(heading, f"rank correlation with the map distance: {MEANINGS[name]}")
        for name, heading in HEADINGS.items()
    ),
)


def _union(groups: Any) -> list[Measure]:
    """Join lists of measures without repetitions, in their order."""
    return list({measure.name: measure for group in groups for measure in group}.values())
