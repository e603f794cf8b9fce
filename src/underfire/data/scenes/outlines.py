"""The outlines of the ten kinds of object, with random variations.

Every function takes the picture's random numbers and returns rings around the origin, x to the right and y down, about
1 unit in each direction. ``place`` gives them size, turn and place afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from underfire.data.scenes.random import TURN, Draws, Floats, cosine, sine
from underfire.data.scenes.raster import Ring


def _points(pairs: Sequence[tuple[float, float]]) -> Floats:
    return np.array(pairs, dtype=np.float64)


def _box(left: float, top: float, right: float, bottom: float) -> Ring:
    return Ring(_points([(left, top), (right, top), (right, bottom), (left, bottom)]))


def _arc(x: float, y: float, across: float, down: float, start: int, stop: int, steps: int) -> Floats:
    """Points of an ellipse from angle ``start`` to ``stop`` (1/1024 turn, clockwise on screen), both included."""
    angles = start + (stop - start) * np.arange(steps + 1) // steps
    return np.stack((x + across * cosine(angles), y + down * sine(angles)), 1)


def _ellipse(x: float, y: float, across: float, down: float, solid: bool = True, steps: int = 24) -> Ring:
    return Ring(_arc(x, y, across, down, 0, TURN, steps)[:-1], solid)


def arrow(draws: Draws) -> list[Ring]:
    """Draw a shaft and a head, whose barbs may point backwards."""
    shaft, head = draws.between(0.17, 0.27), draws.between(0.5, 0.68)
    neck = draws.between(-0.1, 0.25)
    barb = neck - draws.between(0.0, 0.2)
    upper = [(-1.0, -shaft), (neck, -shaft), (barb, -head), (1.0, 0.0)]
    return [Ring(_points([*upper, *((x, -y) for x, y in reversed(upper[:-1]))]))]


def crescent(draws: Draws) -> list[Ring]:
    """Draw a disc without the part that another disc covers."""
    centre, radius = draws.between(0.38, 0.52), draws.between(0.74, 0.86)
    disc, bite = _arc(0, 0, 1, 1, 0, TURN, 64)[:-1], _arc(centre, 0, radius, radius, 0, TURN, 64)[:-1]
    from_bite = (disc[:, 0] - centre) * (disc[:, 0] - centre) + disc[:, 1] * disc[:, 1]
    from_disc = bite[:, 0] * bite[:, 0] + bite[:, 1] * bite[:, 1]
    # Both circles begin on the right, where neither is kept. So each keeps one piece, and the second piece leads back
    # to the start of the first.
    return [Ring(np.concatenate((disc[from_bite > radius * radius], bite[from_disc < 1][::-1])))]


def cross(draws: Draws) -> list[Ring]:
    """Draw two bars at right angles, of similar width, which need not cross in the middle."""
    wide, tall = draws.between(0.22, 0.36), draws.between(0.22, 0.36)
    length, height = draws.between(-0.2, 0.12), draws.between(0.85, 1.0)
    return [_box(-height, length - wide, height, length + wide), _box(-tall, -1.0, tall, 1.0)]


def fish(draws: Draws) -> list[Ring]:
    """Draw a body, a forked tail, and often a fin."""
    height, tail = draws.between(0.42, 0.62), draws.between(0.4, 0.65)
    end, fork = draws.between(-1.5, -1.25), draws.between(0.1, 0.3)
    body = _arc(0, 0, 1, 1, 0, TURN, 28)[:-1]
    # Narrower towards the tail.
    body[:, 1] *= height * (0.8 + 0.2 * body[:, 0])
    rings = [Ring(body), Ring(_points([(-0.6, 0), (end, -tail), (end + fork, 0), (end, tail)]))]
    if draws.chance(0.6):
        tip = draws.between(-0.45, -0.2)
        rings.append(Ring(_points([(-0.35, -0.7 * height), (tip, -height - 0.22), (0.4, -0.8 * height), (0, 0)])))
    return rings


def heart(draws: Draws) -> list[Ring]:
    """Draw two lobes and a tip; the cleft is deep or shallow."""
    cleft, wide = draws.between(4.0, 6.0), draws.between(14.5, 17.5)
    angle = np.arange(0, TURN, TURN // 32)
    lobes = sine(angle)
    y = 13 * cosine(angle) - cleft * cosine(2 * angle) - 2 * cosine(3 * angle) - cosine(4 * angle)
    return [Ring(np.stack((wide * (lobes * lobes * lobes), -y), 1) / 16)]


def house(draws: Draws) -> list[Ring]:
    """Draw walls, a roof that juts out, an open door, and mostly a chimney."""
    half, floor = draws.between(0.6, 0.8), draws.between(0.75, 1.0)
    eaves, ridge = half + draws.between(0.12, 0.28), draws.between(-0.95, -0.7)
    rings = [
        _box(-half, -0.1, half, floor),
        Ring(_points([(-eaves, 0.0), (draws.between(-0.12, 0.12), ridge), (eaves, 0.0)])),
    ]
    if draws.chance(0.7):
        left = draws.between(0.3, 0.42)
        rings.append(_box(left, ridge + draws.between(-0.05, 0.15), left + draws.between(0.2, 0.3), -0.05))
    door, width = draws.between(-half + 0.15, half - 0.55), draws.between(0.3, 0.4)
    # The door ends just below the floor, so that no thin line is left.
    rings.append(_box(door, floor - draws.between(0.45, 0.6), door + width, floor + 0.01)._replace(solid=False))
    return rings


def key(draws: Draws) -> list[Ring]:
    """Draw a bow with a hole, a shaft, and two or three teeth."""
    bow, shaft, length = draws.between(0.48, 0.6), draws.between(0.12, 0.17), draws.between(1.1, 1.4)
    hole = bow * draws.between(0.42, 0.56)
    rings = [_ellipse(0, 0, bow * draws.between(0.85, 1.15), bow), _box(bow - 0.1, -shaft, bow + length, shaft)]
    count = draws.integer(2, 3)
    right = bow + length
    for _ in range(count):
        width = draws.between(0.15, 0.2)
        rings.append(_box(right - width, 0.0, right, shaft + draws.between(0.24, 0.4)))
        right -= width + draws.between(0.12, 0.17)
    return [*rings, _ellipse(0, 0, hole, hole, solid=False, steps=16)]


def mug(draws: Draws) -> list[Ring]:
    """Draw a body that may narrow downwards, and a handle with a hole."""
    half, foot, height = draws.between(0.55, 0.75), draws.between(0.78, 1.0), draws.between(0.7, 0.95)
    body = [(-half, -height), (half, -height), (half * foot, height), (-half * foot, height)]
    x, y = half * (1 + foot) / 2, draws.between(-0.12, 0.1)
    out, down = draws.between(0.46, 0.6), draws.between(0.42, 0.58)
    thick = draws.between(0.16, 0.22)
    return [
        Ring(_points(body)),
        _ellipse(x, y, out, down),
        _ellipse(x, y, out - thick, down - thick, solid=False),
    ]


def star(draws: Draws) -> list[Ring]:
    """Draw a star of five to seven points."""
    count, inner = draws.integer(5, 7), draws.between(0.4, 0.54)
    angles = TURN * np.arange(2 * count) // (2 * count)
    reach = np.where(np.arange(2 * count) % 2, inner, 1.0)
    return [Ring(np.stack((reach * sine(angles), -reach * cosine(angles)), 1))]


def umbrella(draws: Draws) -> list[Ring]:
    """Draw a dome with a scalloped rim, a stick, and a handle bent to one side."""
    height, stick, length = draws.between(0.75, 1.0), draws.between(0.07, 0.1), draws.between(0.75, 0.95)
    count, rise = draws.integer(3, 5), draws.between(0.1, 0.2)
    dome = _arc(0, 0, 1, height, TURN // 2, TURN, 20)[:-1]
    half = 1 / count
    scallops = [_arc(1 - half * (2 * n + 1), 0, half, rise, TURN, TURN // 2, 5)[:-1] for n in range(count)]
    hook = draws.between(0.2, 0.26)
    bend = np.concatenate(
        (
            _arc(hook - stick, length, hook, hook, TURN // 2, 0, 8),
            _arc(hook - stick, length, hook - 2 * stick, hook - 2 * stick, 0, TURN // 2, 8),
        )
    )
    return [Ring(np.concatenate((dome, *scallops))), _box(-stick, -height - 0.15, stick, length), Ring(bend)]


OUTLINES: dict[str, Callable[[Draws], list[Ring]]] = {
    "arrow": arrow,
    "crescent": crescent,
    "cross": cross,
    "fish": fish,
    "heart": heart,
    "house": house,
    "key": key,
    "mug": mug,
    "star": star,
    "umbrella": umbrella,
}
"""The drawing functions, in the order of the labels."""
