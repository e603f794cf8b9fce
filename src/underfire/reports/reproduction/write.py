"""Everything that shows a reproduction: Markdown, charts, pictures and a page, in its folder."""

from __future__ import annotations

from pathlib import Path

from underfire.campaigns.reproduce.judging import Judgement, judge
from underfire.campaigns.reproduce.reproducing import Reproduction
from underfire.reports.reproduction.chart import write_charts
from underfire.reports.reproduction.markdown import write_markdown
from underfire.reports.reproduction.page import write_reproduction_page
from underfire.reports.reproduction.pictures import write_pictures


def write_reproduction(found: Reproduction, folder: Path) -> tuple[list[Judgement], list[Path]]:
    """Write ``reproduction.md`` and ``reproduction.html`` with their charts and pictures.

    Args:
        found: the reproduction.
        folder: where the files are written; ``charts`` and ``pictures`` are folders in it.

    Returns:
        The judgements of the claims that the chosen items are about, and the paths of the two files.

    Raises:
        StoreError: a run cannot be read, or a file cannot be written.
    """
    chosen = {item.name for item in found.items}
    judgements = [judge(found.paper, each, found.findings) for each in found.paper.claims if each.item in chosen]
    pictures = {
        item.name: [
            *((path, item.title) for path in write_charts(found, item, folder / "charts")),
            *write_pictures(found, item, folder / "pictures"),
        ]
        for item in found.items
    }
    return judgements, [
        write_markdown(found, judgements, pictures, folder / "reproduction.md"),
        write_reproduction_page(found, judgements, pictures, folder / "reproduction.html"),
    ]
