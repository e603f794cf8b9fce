"""Charts of a reproduction: one dot with its interval for each number, as an SVG file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path

from underfire.campaigns.reproduce.findings import QUANTITIES, Finding
from underfire.campaigns.reproduce.grids import INTERPRETERS
from underfire.campaigns.reproduce.papers import Item
from underfire.campaigns.reproduce.reproducing import Reproduction
from underfire.campaigns.reproduce.selecting import ORDER, shown
from underfire.reports.output import writing
from underfire.reports.reproduction.tables import called

COLOURS = {
    "prediction-only": "#777777",
    "adv2": "#d55e00",
    "advedge": "#0072b2",
    "advedge+": "#56b4e9",
    "auto": "#009e73",
}
"""Colours of attacks that colour-blind people can tell apart."""
OTHER = "#cc79a7"
NAMES, PANEL, GAP, ROW, BETWEEN, TOP, BOTTOM = 190, 150, 22, 17, 9, 40, 48
"""Pixels: the names at the left, a panel, the gap between panels, a row, the gap between groups, above and below."""


def write_charts(found: Reproduction, item: Item, folder: Path) -> list[Path]:
    """Draw each quantity of an item: a panel for each interpreter, and a row for each attack.

    Args:
        found: the reproduction.
        item: a table or figure whose numbers are drawn.
        folder: where ``NAME-QUANTITY.svg`` is written.

    Raises:
        StoreError: a file cannot be written.
    """
    made = []
    for measure in item.measures if item.chart else ():
        findings = [
            each for each in shown(found.paper, item, found.findings) if each.interval(measure).mean is not None
        ]
        if findings:
            path = folder / f"{item.name}-{measure}.svg"
            with writing(path, "chart") as part:
                part.write_text("\n".join(_drawing(measure, findings, item.title)) + "\n", encoding="utf-8")
            made.append(path)
    return made


def _drawing(measure: str, findings: Sequence[Finding], title: str) -> Iterator[str]:
    panels = sorted({each.interpreter for each in findings}, key=_place_of(INTERPRETERS))
    attacks = sorted({each.attack for each in findings}, key=_place_of(ORDER))
    groups = list(dict.fromkeys((each.classifier, each.perturbation) for each in findings))
    rows = [(group, attack) for group in groups for attack in attacks]
    rows = [row for row in rows if any(_is_at(each, row) for each in findings)]
    places, y, last = {}, float(TOP), None
    for row in rows:
        y += BETWEEN if last not in (None, row[0]) else 0
        places[row], last = y + ROW / 2, row[0]
        y += ROW
    width, height = NAMES + len(panels) * (PANEL + GAP), y + BOTTOM
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" font-family="sans-serif" '
        f'font-size="11" fill="#666"><title>{escape(title)}</title>'
    )
    found = [each.interval(measure) for each in findings]
    most = _round_up(max(each.high or 0.0 for each in found))
    if max(each.mean or 0.0 for each in found) <= 1:  # intervals of few images may reach beyond what is possible
        most = min(1.0, most)
    for row, at in places.items():
        (classifier, perturbation), attack = row
        text = f"{called(attack)}"
        if row == next(each for each in places if each[0] == row[0]):
            name = f"{classifier}, {called(perturbation)}" if len({p for _, p in groups}) > 1 else classifier
            yield f'<text x="0" y="{at + 4:.1f}" font-weight="bold">{escape(name)}</text>'
        yield f'<text x="{NAMES - 8}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>'
    for number, panel in enumerate(panels):
        yield from _panel(measure, [each for each in findings if each.interpreter == panel], places, number, most, y)
    yield f'<text x="{NAMES}" y="{y + 38:.1f}">{escape(QUANTITIES[measure].heading)}, with 95 % intervals</text>'
    yield "</svg>"


def _panel(
    measure: str,
    findings: Sequence[Finding],
    places: dict[tuple[tuple[str, str], str], float],
    number: int,
    most: float,
    bottom: float,
) -> Iterator[str]:
    left = NAMES + number * (PANEL + GAP)
    name = escape(called(findings[0].interpreter))
    yield f'<g transform="translate({left},0)"><text x="0" y="{TOP - 12}" font-weight="bold">{name}</text>'
    for share in (0.0, 0.5, 1.0):
        x = share * PANEL
        yield f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom:.1f}" stroke="#999" stroke-opacity=".35"/>'
        yield f'<text x="{x}" y="{bottom + 14:.1f}" text-anchor="middle">{most * share:.2g}</text>'
    for finding in findings:
        interval = finding.interval(measure)
        y = places[(finding.classifier, finding.perturbation), finding.attack]
        low, mean, high = (
            min(max(0.0, (value or 0.0) / most), 1.0) * PANEL for value in (interval.low, interval.mean, interval.high)
        )
        colour = COLOURS.get(finding.attack, OTHER)
        said = (
            f"{called(finding.attack)}: {interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}], n = {interval.n}"
        )
        yield (
            f'<g stroke="{colour}" fill="{colour}"><title>{escape(said)}</title>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke-width="2"/>'
            f'<circle cx="{mean:.1f}" cy="{y:.1f}" r="3.5" stroke="none"/></g>'
        )
    yield "</g>"


def _round_up(value: float) -> float:
    """Return the next number with one digit whose half is short, too: 0.4 for 0.38; 1 for 0."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 4, 6, 8, 10) if step * unit >= value * (1 - 1e-9))


def _is_at(finding: Finding, row: tuple[tuple[str, str], str]) -> bool:
    return ((finding.classifier, finding.perturbation), finding.attack) == row


def _place_of(known: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    return lambda name: (known.index(name) if name in known else len(known), name)
