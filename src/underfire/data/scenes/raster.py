"""From outlines to covered pixels, in integer arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from underfire.data.scenes.random import Field, Floats

SIDE = 64
"""Height and width of a picture."""

FULL = 256
"""The coverage of a pixel that lies wholly inside."""

_UNITS = 64  # of a coordinate per pixel
_LINES = 4  # scan lines per pixel
_STRIP = _UNITS // _LINES
_WIDTH = SIDE + 2  # an edge at the right border writes two columns beyond it


class Ring(NamedTuple):
    """A closed line that adds its inside to a shape, or takes it away.

    Attributes:
        points: V x 2, (x right, y down); the last point is joined to the first. The line must not cross itself.
        solid: False for a hole.
    """

    points: Floats
    solid: bool = True


def area(points: Floats) -> float:
    """Return the signed area inside the points (shoelace formula). Its sign gives their direction of rotation."""
    # Python sums in the given order; the order of numpy's sums depends on the processor.
    xs: list[float] = points[:, 0].tolist()
    ys: list[float] = points[:, 1].tolist()
    return sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs))) / 2


def coverage(rings: Sequence[Ring]) -> Field:
    """Compute the part of each pixel that lies in the union of the solid rings and in no hole.

    Exact along four scan lines per pixel, after rounding coordinates to 1/64 pixel. A hole takes away one solid ring:
    if two solid rings overlap there, the other one stays, such as a mug's side behind the hole of its handle.

    Args:
        rings: in pixels; parts outside of the picture are cut off.

    Returns:
        0 .. 256 per pixel, SIDE x SIDE.
    """
    starts, ends = [], []
    for ring in rings:
        points = np.rint(ring.points * _UNITS).astype(np.int64)
        following = np.concatenate((points[1:], points[:1]))
        forward = (area(ring.points) > 0) == ring.solid
        starts.append(points if forward else following)
        ends.append(following if forward else points)
    (x0, y0), (x1, y1) = np.concatenate(starts).T, np.concatenate(ends).T
    # Scan lines run through the middle of their strip. Edges are half-open: a line through a corner meets one edge.
    first = (np.minimum(y0, y1) + _STRIP // 2 - 1) // _STRIP
    last = (np.maximum(y0, y1) + _STRIP // 2 - 1) // _STRIP
    first, last = (np.minimum(np.maximum(bound, 0), SIDE * _LINES) for bound in (first, last))
    count = last - first
    edge = np.repeat(np.arange(len(x0)), count)
    line = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
    x0, y0, x1, y1 = x0[edge], y0[edge], x1[edge], y1[edge]
    crossing = x0 + (line * _STRIP + _STRIP // 2 - y0) * (x1 - x0) // (y1 - y0)
    crossing = np.minimum(np.maximum(crossing, 0), SIDE * _UNITS)
    column, within = crossing // _UNITS, crossing % _UNITS
    # An upward edge adds everything to its right: the rest of its own pixel and all later pixels. A downward edge takes
    # the same away.
    sign = np.where(y1 < y0, 1, -1)
    cell = line * _WIDTH + column
    # The weights of bincount are floats, but sums of whole numbers are exact in any order.
    change = np.bincount(
        np.concatenate((cell, cell + 1)),
        np.concatenate((sign * (_UNITS - within), sign * within)),
        SIDE * _LINES * _WIDTH,
    )
    covered = np.zeros((SIDE, SIDE), dtype=np.float32)
    if len(line):  # compute only the rows that the shape reaches
        upper, lower = int(line.min()) // _LINES, int(line.max()) // _LINES + 1
        rows = change.astype(np.float32).reshape(SIDE, _LINES, _WIDTH)[upper:lower]
        strips = rows.cumsum(2)[:, :, :SIDE]
        covered[upper:lower] = np.minimum(np.maximum(strips, 0), _UNITS).sum(1)
    return covered
