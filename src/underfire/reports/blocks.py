"""Small blocks of a page: filters, remarks, and the record of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from underfire.reports.document import Block
from underfire.reports.trust import Remark


@dataclass(frozen=True)
class Filters(Block):
    """Boxes that choose what all tables, charts and images of the page are about.

    Args:
        choices: for each box, its name (a key of ``about`` in rows, curves and points) and its values.
    """

    name: ClassVar[str] = "filters"

    choices: Mapping[str, Sequence[str]]


def filters(abouts: Iterable[Mapping[str, str]]) -> Filters | None:
    """Make a box for each name of which there are several values; None if there is no such name.

    Args:
        abouts: the parts that the content of the page is about, by name.
    """
    found: dict[str, dict[str, None]] = {}
    for about in abouts:
        for name, value in about.items():
            found.setdefault(name, {})[value] = None
    several = {name: list(values) for name, values in found.items() if len(values) > 1}
    return Filters(several) if several else None


@dataclass(frozen=True)
class Head(Block):
    """The heading of a page, and a paragraph."""

    name: ClassVar[str] = "head"

    title: str
    text: str


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
