"""The rows of a page's tables: attacks, controls and chance by interpreter, and results by true class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from underfire.attacks.measure import Measure
from underfire.reports.account import Account
from underfire.reports.classes import class_columns, worth_a_section
from underfire.reports.columns import chance_rows, page_columns
from underfire.reports.sentences import names_of
from underfire.reports.sortable import SortableTable, TableRow, headings, number_cell
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
    names = _Names(accounts)
    rows: list[TableRow] = []
    for account in accounts:
        for interpreter in account.part.interpreters:
            rows += [names.row(account, interpreter, *found) for found in _of(account, interpreter, measures)]
    return SortableTable(
        "All attacks and controls", ("attack or control", *names.heads), headings(measures), tuple(rows)
    )


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


class _Names:
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

    def texts(self, account: Account, interpreter: str) -> list[str]:
        part = account.part
        read = plain(interpreter) + (", not attacked" if interpreter in part.readers else "")
        parts = (
            (self.several, read),
            (self.attacks, plain(part.attack)),
            (self.classifiers, part.classifier),
            (self.folders, plain(account.run.path.name)),
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
            attack=plain(account.part.attack),
            interpreter=plain(interpreter),
        )


def class_table(accounts: Sequence[Account]) -> SortableTable | None:
    """Make the table by true class; None if no attack has few classes with several images each."""
    shown = [account for account in accounts if worth_a_section(account)]
    if not shown:
        return None
    measures, names = _union(class_columns(account) for account in shown), _Names(accounts)
    rows = []
    for account in shown:
        for interpreter in account.part.interpreters:
            for result in by_class(account.part, interpreter):
                cells = tuple(number_cell(result.measures.get(m.name), m.digits) for m in measures)
                texts = names.texts(account, interpreter)
                about = {"attack": plain(account.part.attack), "interpreter": plain(interpreter)}
                rows.append(TableRow((result.name, *texts), cells, result.n, **about))
    return SortableTable("Results by true class", ("class", *names.heads), headings(measures), tuple(rows))


def _union(groups: Any) -> list[Measure]:
    """Join lists of measures without repetitions, in their order."""
    return list({measure.name: measure for group in groups for measure in group}.values())
