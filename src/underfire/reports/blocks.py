"""Small blocks of a page: filters, remarks, and the record of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from underfire.reports.document import Block
from underfire.reports.trust import Remark


@dataclass(frozen=True)
class Filters(Block):
    """Boxes that choose an attack and an interpreter for all tables, charts and images of the page."""

    name: ClassVar[str] = "filters"

    attacks: Sequence[str]
    interpreters: Sequence[str]


@dataclass(frozen=True)
class Remarks(Block):
    """Remarks on a result, behind a line that says how many are reasons for doubt.

    Args:
        groups: for each result, a heading (may be empty), a paragraph that describes it in sentences (may be empty),
            and the remarks.
    """

    name: ClassVar[str] = "remarks"

    groups: Sequence[tuple[str, str, Sequence[Remark]]]

    @property
    def careful(self) -> int:
        """The number of remarks that are reasons for doubt."""
        return sum(remark.kind == "careful" for _, _, remarks in self.groups for remark in remarks)


@dataclass(frozen=True)
class Record(Block):
    """The settings of a run, as names and values, behind a line with the name of its folder."""

    name: ClassVar[str] = "record"

    folder: str
    lines: Sequence[tuple[str, str]]
