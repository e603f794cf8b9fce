"""Results by class as tables, for a terminal and for the page."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from underfire.attacks.measure import Measure
from underfire.attacks.measures import MEASURES
from underfire.reports.account import Account, accounts_of, labels_of
from underfire.reports.columns import as_text, legend
from underfire.runs.by_class import by_class
from underfire.runs.run import Run
from underfire.text import plain

MOST_CLASSES = 20
"""The largest number of classes for which the page has a section."""


def class_columns(account: Account) -> list[Measure]:
    """List the measures of tables by class: joint success, success, and the distance that joint success looks at."""
    together = ["joint_success_all"] if len(account.part.attacked) > 1 else []
    distance = "map_l1" if account.part.keeps else "map_l1_target"
    return [MEASURES[name] for name in ("joint_success", *together, "success", distance)]


def worth_a_section(account: Account) -> bool:
    """Return True if there are few classes, and some class has more than one attacked image."""
    labels = account.part.true_classes.tolist()
    return len(set(labels)) <= MOST_CLASSES and len(set(labels)) < len(labels)


def class_rows(account: Account, interpreter: str) -> list[dict[str, Any]]:
    """Make the rows of the table by class of one interpreter.

    Returns:
        One row for each class: ``name``, ``n``, and ``cells``: the texts (mean, low, high) for each measure of
        ``class_columns``, None without a value.
    """
    columns = class_columns(account)
    return [
        {
            "name": result.name,
            "n": result.n,
            "cells": [as_text(result.measures[measure.name], measure.digits) for measure in columns],
        }
        for result in by_class(account.part, interpreter)
    ]


def class_tables(*runs: Run) -> Group:
    """Show one or more runs by true class: a table for each attack and interpreter."""
    accounts = [account for run in runs for account in accounts_of(run)]
    parts: list[Text | Table] = []
    for account, label in zip(accounts, labels_of(accounts), strict=True):
        for name in account.part.interpreters:
            parts += [Text(f"\nBy class, {label}: maps of {plain(name)}", style="bold"), _table(account, name)]
    measures = list(dict.fromkeys(measure for account in accounts for measure in class_columns(account)))
    return Group(*parts, Text(f"\n{legend(measures)}. n: the number of attacked images of the class.", style="dim"))


def _table(account: Account, interpreter: str) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("class", overflow="fold")
    table.add_column("n", justify="right")
    for measure in class_columns(account):
        table.add_column(Text(measure.heading), justify="right")
    for row in class_rows(account, interpreter):
        cells = ["-" if cell is None else f"{cell[0]}\n{cell[1]}-{cell[2]}" for cell in row["cells"]]
        table.add_row(Text(row["name"]), str(row["n"]), *cells)
    return table
