"""A drawing of ``benchmarks.auto``: joint success over gradients, of ``auto`` and of the published schedule.

    python -m benchmarks.auto_curves

Writes ``docs/pictures/auto-curves.svg`` from the rows in ``docs/results/auto/``. A point is the share of images that
had the class reached and the map kept at some recorded step up to there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from benchmarks.auto_tables import TITLES, course_of

FILE = Path(__file__).parent.parent / "docs/pictures/auto-curves.svg"
CELLS = ("resnet20-cam-4", "resnet20-cam-8", "resnet20-grad-4", "resnet20-grad-8")
LINES = {"auto-1000": ("auto, 1,000", "#0072b2"), "auto": ("auto, 200", "#56b4e9"), "full": ("ADV2, all", "#d55e00")}
"""The lines of a chart: kind of attack, name, and a colour that colour-blind people can tell apart."""
WIDE, HIGH, GAP, LEFT, TOP = 190, 150, 34, 40, 46
"""Pixels of one chart, and around it."""
LEAST, MOST = 10, 1600
"""Gradients at the ends of the horizontal axis, which is logarithmic."""


def place(step: float) -> float:
    """The horizontal place of a number of gradients in a chart, in pixels."""
    return WIDE * math.log(max(step, LEAST) / LEAST) / math.log(MOST / LEAST)


def chart(name: str, left: float) -> Iterator[str]:
    """Draw one cell."""
    _, interpreter, eps = name.split("-")
    yield f'<g transform="translate({left},{TOP})">'
    yield f'<text x="0" y="-8" font-weight="bold">{TITLES[interpreter]}, {eps}/255</text>'
    for share in (0, 0.5, 1):
        y = HIGH * (1 - share)
        yield f'<line x1="0" x2="{WIDE}" y1="{y}" y2="{y}" stroke="#888" stroke-opacity=".3"/>'
        if left == LEFT:
            yield f'<text x="-6" y="{y + 4}" text-anchor="end">{share:.0%}</text>'
    for step in (10, 100, 1000):
        yield f'<text x="{place(step):.0f}" y="{HIGH + 16}" text-anchor="middle">{step:,}</text>'
    for kind, (_, colour) in LINES.items():
        rows = course_of(name, kind)
        seen = [(place(row["step"]), HIGH * (1 - row["joint"])) for row in rows if row["step"] >= LEAST]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in seen)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    yield "</g>"


def drawing() -> str:
    """Draw all cells side by side."""
    width, height = LEFT + len(CELLS) * (WIDE + GAP), TOP + HIGH + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" fill="#555"><title>Joint success over the number of gradients</title>'
    ]
    for number, (name, colour) in enumerate(LINES.values()):
        x = LEFT + 130 * number
        parts.append(f'<line x1="{x}" x2="{x + 20}" y1="12" y2="12" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 26}" y="16">{name}</text>')
    for number, name in enumerate(CELLS):
        parts += chart(name, LEFT + number * (WIDE + GAP))
    said = "gradients (logarithmic); share of images with joint success so far"
    parts.append(f'<text x="{LEFT}" y="{TOP + HIGH + 34}">{said}</text></svg>')
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    FILE.write_text(drawing())
