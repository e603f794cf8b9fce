"""The loss curves of a masker's training, as one picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from underfire.drawing.sheet import Band, Text, Unit, sheet
from underfire.errors import StoreError
from underfire.reports.output import writing
from underfire.text import plain

WIDTH, HEIGHT, EDGE = 270, 170, 6
FAINT, LINE, FRAME = (205, 214, 232), (38, 84, 160), (190, 194, 204)
COLUMNS = 3

Series = dict[str, dict[str, list[float]]]


def write_losses(table: Path, out: Path) -> Path:
    """Draw the losses of a training, with one curve for each loss in each phase.

    Args:
        table: a CSV file with the columns phase, step, name and value.
        out: the PNG file to write.

    Returns:
        ``out``.

    Raises:
        StoreError: ``table`` cannot be read, or ``out`` cannot be written.
    """
    parts: list[Text | Band] = []
    for phase, columns in read_losses(table).items():
        steps = max(len(values) for values in columns.values())
        parts.append(Text(f"{phase}, {steps} steps", 18, above=12 if parts else 0))
        units = [_unit(name, values) for name, values in columns.items()]
        parts += [Band(tuple(units[begin : begin + COLUMNS])) for begin in range(0, len(units), COLUMNS)]
    note = (
        "Pale: each step. Dark: the mean over a fiftieth of the phase. Below each curve: its range, and its last mean."
    )
    with writing(out, "picture") as part:
        sheet([*parts, Text(note, tone="muted", size=13, above=4)]).save(part, format="PNG")
    return out


def read_losses(table: Path) -> Series:
    """Read the values by phase and name, in the order of the rows.

    Raises:
        StoreError: ``table`` cannot be read, or has other columns.
    """
    found: Series = {}
    try:
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["phase"], {}).setdefault(row["name"], []).append(float(row["value"]))
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(f"{table} cannot be read as losses of a training: {error}") from error
    return found


def smoothed(values: Sequence[float]) -> list[float]:
    """Average around each value, over a fiftieth of all values. NaN values are left out; an empty window gives NaN."""
    known = np.array(values, dtype=np.float64)
    reach = max(1, len(known) // 100)
    means = []
    for place in range(len(known)):
        window = known[max(0, place - reach) : place + reach + 1]
        window = window[~np.isnan(window)]
        means.append(float(window.mean()) if len(window) else math.nan)
    return means


def _unit(name: str, values: Sequence[float]) -> Unit:
    known = [value for value in values if not math.isnan(value)]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    last = [value for value in smoothed(values) if not math.isnan(value)]
    said = f"{low:.3g} to {high:.3g}; at the end {last[-1]:.3g}" if known else "no values"
    return Unit((_curve(values, low, high),), caption=said, title=plain(name))


def _curve(values: Sequence[float], low: float, high: float) -> npt.NDArray[np.uint8]:
    image = Image.new("RGB", (WIDTH, HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH - 1, HEIGHT - 1), outline=FRAME)
    for series, colour, width in ((list(values), FAINT, 1), (smoothed(values), LINE, 2)):
        points = [
            (_place(index, 0, len(values) - 1, WIDTH), HEIGHT - 1 - _place(value, low, high, HEIGHT))
            for index, value in enumerate(series)
            if not math.isnan(value)
        ]
        draw.line(points, fill=colour, width=width)
    return np.asarray(image, dtype=np.uint8)


def _place(value: float, low: float, high: float, length: int) -> float:
    share = (value - low) / (high - low) if high > low else 0.5
    return EDGE + share * (length - 1 - 2 * EDGE)
