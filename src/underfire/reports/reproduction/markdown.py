"""A reproduction as a Markdown file: the claims first, then every table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from underfire.campaigns.reproduce.judging import Judgement, sentence
from underfire.campaigns.reproduce.papers import Item
from underfire.campaigns.reproduce.reproducing import Reproduction
from underfire.reports.output import writing
from underfire.reports.reproduction.pictures import Picture
from underfire.reports.reproduction.tables import Table, span, tables_of
from underfire.text import plain


def write_markdown(
    found: Reproduction, judgements: Sequence[Judgement], pictures: Mapping[str, Sequence[Picture]], out: Path
) -> Path:
    """Write a reproduction as a Markdown file.

    Args:
        found: the reproduction.
        judgements: the paper's claims.
        pictures: for each item by name, its charts and pictures with a caption each; their files lie below the file's
            folder.
        out: the file.

    Raises:
        StoreError: the file cannot be written.
    """
    text = "\n".join(_lines(found, judgements, pictures, out.parent))
    with writing(out, "tables") as part:
        part.write_text(text, encoding="utf-8")
    return out


def _lines(
    found: Reproduction, judgements: Sequence[Judgement], pictures: Mapping[str, Sequence[Picture]], folder: Path
) -> Iterator[str]:
    paper = found.paper
    yield f"# {paper.title}\n"
    yield f"{paper.source}, made anew by underfire.\n"
    if found.protocol:
        yield f"{_escaped(found.protocol)}\n"
    yield (
        "Numbers are means with a 95 % interval. A number in brackets at the end is the published one, of the same "
        f"kind of classifier where the paper has one and else of its ResNet ({paper.published_on}): other data, other "
        "networks and other solvers, so that directions can be compared, and sizes hardly.\n"
    )
    yield from _claims(judgements)
    for item in found.items:
        yield from _item(found, item, pictures.get(item.name, ()), folder)
    if found.missing:
        yield "## Missing\n"
        for name, reason in found.missing.items():
            yield f"- {_escaped(name)}: {_escaped(reason)}"
        yield ""


def _claims(judgements: Sequence[Judgement]) -> Iterator[str]:
    told = [judgement for judgement in judgements if judgement.cases]
    if not told:
        return
    yield "## What the paper claims\n"
    yield (
        "Each claim is tested for every classifier, perturbation and interpreter by itself, paired by image. It holds "
        "if the 95 % interval lies on its side, does not hold if it lies on the other one, and cannot be told if the "
        "interval has a part on either. The intervals are not corrected for the number of cases.\n"
    )
    for judgement in told:
        claim = judgement.claim
        yield f"- **{claim.text}** {_first_upper(judgement.verdict)}. {_escaped(sentence(judgement))}"
    yield ""


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _item(found: Reproduction, item: Item, pictures: Sequence[Picture], folder: Path) -> Iterator[str]:
    tables = list(tables_of(found, item))
    if not tables and not pictures:
        return
    yield f"## {item.heading}: {item.title[:1].lower()}{item.title[1:]}\n"
    for path, about in pictures:
        yield f"![{_escaped(about)}]({path.relative_to(folder).as_posix()})\n"
    for table in tables:
        said = f"**{_first_upper(table.heading)}**, over {span(table.counts)} images"
        yield f"{said}, published in brackets\n" if table.has_published else f"{said}\n"
        yield from _rows(table)
        yield ""


def _rows(table: Table) -> Iterator[str]:
    yield f"| {' | '.join((*table.heads, *map(_escaped, table.columns)))} |"
    yield f"|{'---|' * len(table.heads)}{'---:|' * len(table.columns)}"
    for names, entries in table.rows:
        cells = []
        for entry in entries:
            mean, between, published = table.text(entry)
            cell = mean + (f" [{between}]" if between else "") + (f" ({published})" if published else "")
            cells.append(cell or "–")
        yield f"| {' | '.join((*map(_escaped, names), *cells))} |"


def _escaped(text: str) -> str:
    """Escape what Markdown and HTML would read as more than text: names come from outside."""
    return re.sub(r"([\\|<>\[\]`*_])", r"\\\1", plain(text)) if re.search(r"[|<>`]", text) else plain(text)
