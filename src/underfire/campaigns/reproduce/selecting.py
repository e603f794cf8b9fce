"""Which findings a table or figure shows, arranged as rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from underfire.campaigns.reproduce.findings import Finding
from underfire.campaigns.reproduce.grids import INTERPRETERS
from underfire.campaigns.reproduce.papers import NO_DEFENSE, Item, Paper


def shown(paper: Paper, item: Item, findings: Sequence[Finding]) -> list[Finding]:
    """Choose the findings that an item is about, in the order of its groups of runs.

    Of controls, only those beside the first attack of a group are taken: each attack has its own.
    """
    if item.kind == "defense":
        places = {name: place for place, name in enumerate(item.inputs)}
        about = [each for each in findings if each.defense and each.beside in places]
        return sorted(about, key=lambda each: places[each.beside])
    found = []
    for name in item.runs:
        group = paper.runs[name]
        for finding in findings:
            apart = finding.defense == NO_DEFENSE or (finding.defense and not item.defense)
            if apart or not group.attacks_on(finding.interpreter):
                continue
            if not group.has(finding.beside, finding.perturbation, finding.target_map):
                continue
            if item.attacks and finding.beside not in item.attacks:
                continue
            if finding.is_control and (not item.controls or finding.beside != group.attack[0]):
                continue
            if item.kind == "detection" and item.together and len(read_by(finding.reader)) != item.together:
                continue
            if not item.own_only or finding.reader == finding.interpreter:
                found.append(finding)
    return found


def read_by(detector: str) -> set[str]:
    """Return the interpreters that a detector reads, from its name: ``grad+cam``, or ``grad+cam+product``."""
    return set(detector.removesuffix("+product").split("+"))


@dataclass(frozen=True)
class Arranged:
    """Findings as a table.

    Args:
        rows: the names of the rows, a text for each of the item's row keys.
        columns: the names of the columns, a text for each of the item's column keys.
        cells: the finding at a row and a column; missing ones are not there.
    """

    rows: list[tuple[str, ...]]
    columns: list[tuple[str, ...]]
    cells: Mapping[tuple[tuple[str, ...], tuple[str, ...]], Finding]


ORDER = (
    "clean",
    "benign",
    "prediction-only",
    "adv2",
    "unaware",
    "advedge",
    "advedge+",
    "auto",
    "adaptive",
    "adaptive-auto",
    "square",
)
"""The order of attacks in tables; other ones follow."""


def arrange(item: Item, findings: Sequence[Finding]) -> Arranged:
    """Arrange the findings of an item as its table."""
    cells: dict[tuple[tuple[str, ...], tuple[str, ...]], Finding] = {}
    for finding in findings:
        keys = finding.keys
        if finding.is_control and item.transferred:
            # A control attacks no map; it is read beside the attack on each interpreter. One of them is enough.
            keys["interpreter"] = ""
        row, column = (tuple(keys[key] for key in each) for each in (item.rows, item.columns))
        cells.setdefault((row, column), finding)
    firsts: dict[str, dict[str, int]] = {key: {} for key in (*item.rows, *item.columns)}
    for finding in findings:
        for key, seen in firsts.items():
            seen.setdefault(finding.keys[key], len(seen))
    if "attack" in firsts:
        firsts["attack"] = _places(ORDER, firsts["attack"])
    if "defense" in firsts:
        firsts["defense"] = _places((NO_DEFENSE,), firsts["defense"])
    for key in {"interpreter", "reader"} & set(firsts):
        firsts[key] = _places(INTERPRETERS, firsts[key])

    def ordered(names: Sequence[str], keys: Sequence[str]) -> tuple[int, ...]:
        return tuple(firsts[key].get(name, -1) for key, name in zip(keys, names, strict=True))

    rows = sorted({row for row, _ in cells}, key=lambda names: ordered(names, item.rows))
    columns = sorted({column for _, column in cells}, key=lambda names: ordered(names, item.columns))
    return Arranged(rows, columns, cells)


def _places(known: Sequence[str], names: Iterable[str]) -> dict[str, int]:
    """Number names: known ones in their order, then the others."""
    return {name: place for place, name in enumerate(dict.fromkeys((*known, *names)))}
