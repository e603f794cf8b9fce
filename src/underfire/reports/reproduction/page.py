"""The page of a reproduction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from underfire.campaigns.reproduce.findings import QUANTITIES
from underfire.campaigns.reproduce.judging import Judgement, sentence
from underfire.campaigns.reproduce.papers import PREDICTION_ONLY, Item
from underfire.campaigns.reproduce.reproducing import Reproduction
from underfire.reports.blocks import Head
from underfire.reports.columns import ARROWS
from underfire.reports.document import Block, Section, write_document
from underfire.reports.reproduction.pictures import Picture
from underfire.reports.reproduction.tables import Table, called, tables_of
from underfire.reports.sortable import Cell, Column, SortableTable, TableRow, number_cell


@dataclass(frozen=True)
class ClaimLine:
    """One claim with its verdict; ``kind`` is ``holds``, ``fails`` or ``open`` and sets the colour."""

    kind: str
    text: str
    verdict: str
    said: str


@dataclass(frozen=True)
class Claims(Block):
    """The claims of a paper with their verdicts."""

    name: ClassVar[str] = "claims"

    lines: tuple[ClaimLine, ...]


@dataclass(frozen=True)
class Drawing(Block):
    """A picture in a file beside the page.

    Args:
        address: the file's address.
        about: what it shows, for readers without a picture.
        caption: a text below it; none if empty.
    """

    name: ClassVar[str] = "drawing"

    address: str
    about: str
    caption: str = ""


def write_reproduction_page(
    found: Reproduction, judgements: Sequence[Judgement], pictures: Mapping[str, Sequence[Picture]], out: Path
) -> Path:
    """Write the page of a reproduction.

    Args:
        found: the reproduction.
        judgements: the paper's claims.
        pictures: for each item by name, its charts and pictures with a caption each; their files lie below the page's
            folder.
        out: the HTML file.

    Raises:
        StoreError: it cannot be written.
    """
    told = [judgement for judgement in judgements if judgement.cases]
    claims = [Claims(tuple(map(_line, told)))] if told else []
    sections = [
        Section("claims", "", [Head(found.paper.title, f"{found.protocol} {_ABOUT}".strip()), *claims], link="Claims"),
        *(_section(found, item, pictures.get(item.name, ()), out.parent) for item in found.items),
    ]
    return write_document(out, found.paper.title, sections)


_ABOUT = (
    "Each claim is tested for every classifier, perturbation and interpreter by itself, paired by image. It holds if "
    "the 95 % interval lies on its side, does not hold if it lies on the other one, and cannot be told otherwise."
)


def _line(judgement: Judgement) -> ClaimLine:
    kind = {"holds": "holds", "does not hold": "fails"}.get(judgement.verdict, "open")
    verdict = judgement.verdict
    return ClaimLine(kind, judgement.claim.text, f"{verdict[:1].upper()}{verdict[1:]}.", sentence(judgement))


def _section(found: Reproduction, item: Item, pictures: Sequence[Picture], folder: Path) -> Section:
    drawings = [Drawing(quote(path.relative_to(folder).as_posix()), about) for path, about in pictures]
    tables = [_table(table) for table in tables_of(found, item)]
    return Section(item.name, f"{item.heading}: {item.title}", [*drawings, *tables], link=item.heading)


def _table(table: Table) -> SortableTable:
    """Make a row for each number, so that rows can be sorted and searched."""
    quantity, rows = QUANTITIES[table.measure], []
    for names, entries in table.rows:
        for column, entry in zip(table.columns, entries, strict=True):
            if entry is None:
                continue
            published = None if entry.published is None else Cell(table.text(entry)[2], "", entry.published)
            cells = (number_cell(entry.interval.to_dict(), quantity.digits), published)
            shown = cells if table.has_published else cells[:1]
            kind = "control" if called(PREDICTION_ONLY) in (*names, column) else "attack"
            rows.append(TableRow((*names, column), shown, entry.interval.n, kind=kind))
    heading = Column(table.heading, arrow=ARROWS.get(quantity.better or "neither", ""))
    columns = (heading, Column("published", "the paper's own number")) if table.has_published else (heading,)
    last = " / ".join(map(called, table.item.columns))
    return SortableTable(table.heading, (*table.heads, last), columns, tuple(rows))
