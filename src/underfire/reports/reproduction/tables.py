"""The tables of a reproduction: our numbers with their intervals, and the published ones beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from underfire.campaigns.reproduce.findings import QUANTITIES, Finding
from underfire.campaigns.reproduce.papers import PREDICTION_ONLY, Item
from underfire.campaigns.reproduce.published import lookup
from underfire.campaigns.reproduce.reproducing import Reproduction
from underfire.campaigns.reproduce.selecting import arrange, shown
from underfire.metrics import Interval
from underfire.text import plain

NAMES = {
    PREDICTION_ONLY: "prediction only",
    "adv2": "ADV2",
    "advedge": "AdvEdge",
    "advedge+": "AdvEdge+",
    "pgd": "PGD",
    "bim": "PGD",
    "cw": "C&W",
    "stadv": "StAdv",
    "grad": "Grad",
    "cam": "CAM",
    "mask": "MASK",
    "rts": "RTS",
    "unaware": "ADV2 on the plain masker",
}
"""The names that the papers use."""

HEADS = {"interpreter": "attacked", "reader": "read by"}
"""Headings of keys that need other words than their own."""

HEADS_OF = {"detection": {"reader": "detector"}, "defense": {"attack": "input", "perturbation": "size"}}
"""Headings of keys in items of a kind."""


def called(name: str) -> str:
    """Return the name that papers use for an attack, perturbation or interpreter; other names as they are."""
    return NAMES.get(name, plain(name))


@dataclass(frozen=True)
class Entry:
    """One number of a table.

    Args:
        interval: the mean with its interval.
        published: the published number; None if there is none.
    """

    interval: Interval
    published: float | None


@dataclass(frozen=True)
class Table:
    """One quantity of a table or figure.

    Args:
        item: the table or figure.
        measure: the quantity.
        heads: the headings of the columns with names.
        columns: the headings of the columns with numbers.
        rows: for each row, its names and its numbers; None where there is no run.
        counts: the numbers of images behind the numbers.
    """

    item: Item
    measure: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[Entry | None, ...]], ...]
    counts: tuple[int, ...]

    @property
    def heading(self) -> str:
        """The quantity's name."""
        return QUANTITIES[self.measure].heading

    @property
    def has_published(self) -> bool:
        """True if a published number stands beside one of ours."""
        return any(entry is not None and entry.published is not None for _, row in self.rows for entry in row)

    def text(self, entry: Entry | None) -> tuple[str, str, str]:
        """Return the mean, its interval and the published number as texts; empty ones for missing numbers."""
        digits = QUANTITIES[self.measure].digits
        if entry is None or entry.interval.mean is None:
            return "", "", ""
        interval = entry.interval
        between = "" if interval.low == interval.high else f"{interval.low:.{digits}f}, {interval.high:.{digits}f}"
        return (
            f"{interval.mean:.{digits}f}",
            between,
            "" if entry.published is None else f"{entry.published:.{digits}f}",
        )


def tables_of(found: Reproduction, item: Item) -> Iterator[Table]:
    """Make the tables of an item, one for each of its quantities that a run has."""
    findings = shown(found.paper, item, found.findings)
    for measure in item.measures or _causes(item):
        table = _table(found, item, measure, findings)
        if table.counts:
            yield table


def _causes(item: Item) -> Sequence[str]:
    return ("half_mass_area", "margin_next") if item.kind == "outliers" else ()


def _table(found: Reproduction, item: Item, measure: str, findings: Sequence[Finding]) -> Table:
    known = [finding for finding in findings if finding.interval(measure).mean is not None]
    arranged = arrange(item, known)
    rows = []
    for row in arranged.rows:
        entries: list[Entry | None] = []
        for column in arranged.columns:
            finding = arranged.cells.get((row, column))
            if finding is None:
                entries.append(None)
                continue
            number = lookup(found.paper.name, item.name, measure, finding.keys)
            entries.append(Entry(finding.interval(measure), number))
        rows.append((tuple(map(called, row)), tuple(entries)))
    return Table(
        item=item,
        measure=measure,
        heads=tuple(_head(item, key) for key in item.rows),
        columns=tuple(" / ".join(map(called, column)) for column in arranged.columns),
        rows=tuple(rows),
        counts=tuple(sorted({finding.interval(measure).n for finding in known})),
    )


def _head(item: Item, key: str) -> str:
    return HEADS_OF.get(item.kind, {}).get(key, HEADS.get(key, key))


def span(counts: Sequence[int]) -> str:
    """Write numbers of images as a range: ``4 to 16``."""
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
