"""The place of an object in its picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from underfire.data.scenes.random import Draws, cosine_and_sine
from underfire.data.scenes.raster import SIDE, Ring, area

_OUTSIDE = 1.5  # the most that the border may cut off, in pixels


def place(draws: Draws, rings: Sequence[Ring], lean: int) -> list[Ring]:
    """Bend, mirror, turn, scale and move the rings of an outline. The result is in pixels.

    The object covers a tenth to a third of the picture, or a little less if rings overlap or if it is too long.

    Args:
        draws: the picture's random numbers.
        rings: the outline, in units of its own.
        lean: the largest turn to either side, in 1/1024 of a turn.
    """
    mirrored = -1.0 if draws.chance(0.5) else 1.0
    stretch, shear = draws.between(0.88, 1.14), draws.between(-0.14, 0.14)
    across, down = cosine_and_sine(draws.integer(-lean, lean))
    bend = draws.between(-0.08, 0.08)
    moved = []
    for points, solid in rings:
        x, y = points[:, 0] * (mirrored * stretch), points[:, 1]
        x = x + y * shear + y * y * bend
        moved.append(Ring(np.stack((x * across - y * down, x * down + y * across), 1), solid))
    own = sum(abs(area(ring.points)) * (1 if ring.solid else -1) for ring in moved)
    ends = np.concatenate([ring.points for ring in moved])
    low, high = ends.min(0), ends.max(0)
    wanted = math.sqrt(draws.between(0.1, 0.32) * SIDE * SIDE / own)
    scale = min(wanted, (SIDE - 2) / float((high - low).max()))
    free = (SIDE - (high - low) * scale).tolist()
    corner = np.array([draws.between(-_OUTSIDE, room + _OUTSIDE) for room in free])
    return [Ring((ring.points - low) * scale + corner, ring.solid) for ring in moved]
