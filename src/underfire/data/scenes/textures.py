"""Natural-looking surfaces: each function draws a value in [0, 1] per pixel, which a palette turns into colour."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from underfire.data.scenes.random import TURN, Draws, Field, cosine, cosine_and_sine
from underfire.data.scenes.raster import SIDE

Colour = tuple[int, int, int]

ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)
_STARTS = (np.arange(SIDE) * SIDE)[:, None]
_WAVE = (math.sqrt(2) * cosine(np.arange(256) * TURN // 256)).astype(np.float32)
_ONE = 128  # the sum of the weights of the spline
# The standard deviation of random bytes, and the part of it that remains after smoothing by a cubic spline along one
# axis.
_BYTES, _SMOOTHED = 73.6, 0.692


@functools.lru_cache
def _spline(period: int) -> Field:
    """Return the weights of a cubic B-spline with one knot every ``period`` pixels: integers with a sum of about 128.

    Returns:
        (SIDE + period) x knots. A random window of SIDE rows places the knots at random.
    """
    rows = SIDE + period
    if period == 1:
        return (np.eye(rows, rows) * _ONE).astype(np.float32)
    weights = np.zeros((rows, rows // period + 4))
    for row in range(rows):
        knot, after = divmod(row, period)
        t = after / period
        first, last = (1 - t) * (1 - t) * (1 - t), t * t * t
        second = 3 * last - 6 * t * t + 4
        weights[row, knot : knot + 4] = first, second, 6 - first - second - last, last
    return np.rint(weights * _ONE / 6).astype(np.float32)


def octave(draws: Draws, down: int, across: int, side: int = SIDE) -> Field:
    """Draw smooth noise, side x side, with mean 0 and standard deviation about 1.

    Args:
        down, across: pixels between independent values along columns and along rows; 1 or more.
    """
    row, column = draws.integer(0, down - 1), draws.integer(0, across - 1)
    left, right = _spline(down)[row : row + side], _spline(across)[column : column + side]
    if side < SIDE:
        left, right = left[:, : (row + side) // down + 4], right[:, : (column + side) // across + 4]
    values = draws.levels(left.shape[1], right.shape[1])
    smoothing = (_SMOOTHED if down > 1 else 1.0) * (_SMOOTHED if across > 1 else 1.0)
    scale = 1 / (_BYTES * smoothing)
    if down == across == 1:
        return values[:side, :side] * scale
    # Sums of halves below 2**22 are exact in 24 bits, in any order.
    if across == 1:
        return (left @ values[:, :side]).astype(np.float32, copy=False) * (scale / _ONE)
    return (left @ values @ right.T).astype(np.float32, copy=False) * (scale / _ONE / _ONE)


def fractal(draws: Draws, periods: Sequence[int], persistence: float, side: int = SIDE) -> Field:
    """Add octaves of noise, each ``persistence`` times as strong as the one before; standard deviation about 1.

    Natural pictures have about as much contrast in every octave (a persistence of 1): see Field 1987.
    """
    strengths = [1.0]
    for _ in periods[1:]:
        strengths.append(strengths[-1] * persistence)
    norm = math.sqrt(sum(strength * strength for strength in strengths))
    total = np.zeros((side, side), dtype=np.float32)
    for period, strength in zip(periods, strengths, strict=True):
        total += octave(draws, period, period, side) * (strength / norm)
    return total


def to_unit(values: Field, contrast: float = 0.2) -> Field:
    """Map noise of standard deviation 1 to values in [0, 1]: 0.5 plus or minus ``contrast``."""
    field: Field = np.minimum(np.maximum(values * contrast + 0.5, 0), 1)
    return field


def _wave(phase: Field) -> Field:
    """Return a sine of standard deviation 1; ``phase`` is in 1/256 of its period."""
    waves: Field = _WAVE.take(np.floor(phase).astype(np.int64) & 255)
    return waves


def earth(draws: Draws) -> Field:
    """Draw pink noise: soil, rust, moss, plaster."""
    return to_unit(fractal(draws, (32, 16, 8, 4, 2, 1), draws.between(0.6, 0.85)))


def clouds(draws: Draws) -> Field:
    """Draw soft noise over a sky that becomes lighter downwards."""
    slope = 1 / draws.between(24, 64)
    return to_unit(fractal(draws, (32, 16, 8, 4), draws.between(0.45, 0.6)) + (ROWS - 32) * slope, 0.18)


def wood(draws: Draws) -> Field:
    """Draw year rings and grain, upright or lying."""
    rings = _wave(COLUMNS * draws.between(9, 26) + octave(draws, 32, 8) * draws.between(40, 130))
    planks = rings * 0.5 + octave(draws, 16, 1) * 0.55 + octave(draws, 32, 4) * 0.5
    return to_unit(planks.T if draws.chance(0.5) else planks, 0.17)


def sand(draws: Draws) -> Field:
    """Draw ripples of wind or water."""
    across, down = cosine_and_sine(draws.integer(0, TURN - 1))
    phase = (COLUMNS * across + ROWS * down) * draws.between(18, 42)
    ripples = _wave(phase + octave(draws, 16, 16) * draws.between(50, 110))
    return to_unit(ripples * 0.65 + fractal(draws, (32, 8, 1), 1.0) * 0.4, 0.17)


def grass(draws: Draws) -> Field:
    """Draw two layers of blades that lean to either side."""
    layers = []
    for _ in range(2):
        lean = np.floor(COLUMNS + ROWS * draws.between(-0.6, 0.6) + octave(draws, 32, 16) * 3).astype(np.int64)
        blades = octave(draws, draws.choice((8, 16)), draws.choice((1, 2)))
        layers.append(blades.take(_STARTS + (lean & (SIDE - 1))))
    return to_unit(np.maximum(layers[0], layers[1]) + octave(draws, 16, 16) * 0.4 - 0.5)


def stones(draws: Draws) -> Field:
    """Draw cells with dark joints: paving, pebbles, cracked mud (Worley 1996)."""
    count = draws.integer(9, 30)
    # Centres of cells, up to eight pixels outside of the picture, in quarters of a pixel.
    places = np.floor(draws.levels(2, count) * 1.25).astype(np.int32) + 2 * SIDE
    tones = draws.levels(1, count)[0] / 90
    grid = np.arange(SIDE, dtype=np.int32) * 4
    rows, columns = grid - places[0][:, None], grid - places[1][:, None]
    # Squared distances are below 2**18. The cell's number is in the last five bits, so one pass finds both.
    rows, columns = rows * rows * 32 + np.arange(count, dtype=np.int32)[:, None], columns * columns * 32
    distances = rows[:, :, None] + columns[:, None, :]
    first = distances.min(0)
    distances[distances == first] = np.iinfo(np.int32).max
    nearest = first & 31
    gap = np.sqrt((distances.min(0) >> 5).astype(np.float32)) - np.sqrt((first >> 5).astype(np.float32))
    joint = np.minimum(gap / draws.between(8.0, 16.0), 1)
    rough = fractal(draws, (4, 2, 1), 1.0) * draws.between(0.4, 0.8)
    return to_unit(tones[nearest] + rough + joint * 2.2 - 1.9, 0.17)


TEXTURES: dict[str, tuple[Callable[[Draws], Field], tuple[tuple[Colour, ...], ...]]] = {
    "earth": (
        earth,
        (
            ((66, 46, 32), (122, 90, 62), (172, 142, 106)),
            ((58, 66, 40), (104, 112, 62), (158, 150, 96)),
            ((120, 52, 34), (164, 92, 60), (196, 146, 108)),
            ((92, 92, 94), (142, 140, 136), (192, 188, 180)),
        ),
    ),
    "clouds": (
        clouds,
        (
            ((62, 112, 176), (128, 172, 214), (232, 238, 242)),
            ((74, 82, 100), (132, 140, 152), (200, 202, 206)),
            ((86, 70, 116), (196, 120, 110), (242, 198, 146)),
        ),
    ),
    "wood": (
        wood,
        (
            ((74, 44, 24), (132, 86, 48), (184, 136, 86)),
            ((134, 98, 62), (184, 148, 104), (222, 194, 150)),
            ((54, 36, 30), (92, 62, 50), (134, 98, 80)),
        ),
    ),
    "sand": (
        sand,
        (
            ((148, 118, 80), (198, 168, 122), (234, 212, 170)),
            ((28, 72, 96), (58, 122, 146), (146, 192, 202)),
            ((150, 158, 170), (194, 202, 210), (238, 242, 246)),
        ),
    ),
    "grass": (
        grass,
        (
            ((22, 46, 16), (66, 106, 38), (148, 176, 82)),
            ((70, 62, 26), (136, 122, 58), (204, 188, 118)),
            ((18, 52, 44), (48, 102, 82), (120, 168, 128)),
        ),
    ),
    "stones": (
        stones,
        (
            ((52, 50, 50), (122, 118, 114), (186, 180, 172)),
            ((58, 42, 34), (138, 106, 84), (202, 174, 144)),
            ((44, 54, 62), (98, 114, 124), (164, 178, 184)),
        ),
    ),
}
"""The drawing function of each surface, and its palettes, from dark to light."""
