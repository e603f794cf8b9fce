"""The colours of one picture: a surface with small patches, the object with its shadow, and the light on both.

Pictures in this file are 3 x SIDE x SIDE, with levels in 0 .. 255 that are rounded to whole numbers at the end only.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from underfire.data.scenes.random import TURN, Draws, Field, cosine_and_sine
from underfire.data.scenes.raster import FULL, SIDE
from underfire.data.scenes.textures import COLUMNS, ROWS, TEXTURES, Colour, fractal, to_unit

_REACH = 4  # the largest distance of a shadow, in pixels
_TRIES = 12
_WINDOW = 20  # pixels: the largest patch, turned by 45 degrees, fits inside
# The least squared distance of the object's colours to the surface under it: 75 levels of grey, with weights for red,
# green and blue that follow the eye's sensitivity.
_CONTRAST = 9 * 75 * 75
_PATTERNS = ("plain", "plain", "stripes", "dots", "checks", "gradient", "noise", "noise")


def background(draws: Draws) -> Field:
    """Draw a textured surface with up to four small patches on it."""
    draw, palettes = TEXTURES[draws.choice(tuple(TEXTURES))]
    tint = [draws.between(0.85, 1.15) for _ in range(3)]
    stops = [[level * part for level, part in zip(stop, tint, strict=True)] for stop in draws.choice(palettes)]
    picture = _coloured(stops, draw(draws))
    for _ in range(draws.integer(0, 4)):
        top, left = draws.integer(0, SIDE - _WINDOW), draws.integer(0, SIDE - _WINDOW)
        window = picture[:, top : top + _WINDOW, left : left + _WINDOW]
        colours = _coloured((_colour(draws), _colour(draws)), _pattern(draws, _WINDOW))
        window += (colours - window) * _patch(draws)
    np.minimum(picture, 255, out=picture)
    return picture


def paint(draws: Draws, under: Field, covered: Field) -> NDArray[np.uint8]:
    """Paint the object on the surface ``under`` it, with light and a camera's noise.

    Args:
        draws: random numbers for colours, pattern and light; they do not depend on the object's class.
        under: the surface, 3 x SIDE x SIDE.
        covered: the part of each pixel that the object covers, 0 .. 256, SIDE x SIDE.

    Returns:
        The picture, SIDE x SIDE x 3.
    """
    across, down = cosine_and_sine(draws.integer(0, TURN - 1))
    distance = draws.between(1.0, 3.2)
    right, below = round(across * distance), round(down * distance)
    radius = draws.integer(2, 4)
    shaded, towards = _blurred(covered, below, right, radius), _blurred(covered, -below, -right, radius)
    colours = _seen_colours(draws, under, shaded + towards)
    relief = np.minimum(np.maximum((towards - shaded) * draws.between(0.0, 0.4) + 1, 0.6), 1.4)
    surface = np.minimum(_coloured(colours, _pattern(draws, SIDE)) * relief, 255)
    picture = under * (1 - shaded * draws.between(0.0, 0.5))
    picture += (surface - picture) * (covered / FULL)
    slope = draws.between(0.0, 0.3) / SIDE
    picture *= (
        (COLUMNS - SIDE // 2) * (-slope * across) + (ROWS - SIDE // 2) * (-slope * down) + draws.between(0.85, 1.12)
    )
    picture += draws.levels(SIDE, SIDE) * (draws.between(0.0, 6.0) / 74)
    return np.minimum(np.maximum(picture, 0), 255).astype(np.uint8).transpose(1, 2, 0)


def _colour(draws: Draws) -> Colour:
    """Draw any colour, in the same way for objects and patches, so that no colour gives the object away."""
    return draws.integer(16, 244), draws.integer(16, 244), draws.integer(16, 244)


def _coloured(stops: Sequence[Sequence[float]], values: Field) -> Field:
    """3 x values: colours that run through two or three ``stops`` in equal parts, where ``values`` run from 0 to 1."""
    colours = np.array(stops, dtype=np.float32)[:, :, None, None]
    parts = [values] if len(stops) == 2 else [np.minimum(values * 2, 1), np.maximum(values * 2 - 1, 0)]
    picture: Field = colours[0] + (colours[1] - colours[0]) * parts[0]
    if len(parts) == 2:
        picture += (colours[2] - colours[1]) * parts[1]
    return picture


def _pattern(draws: Draws, side: int) -> Field:
    """Draw a plain field, stripes, dots, checks, a gradient, or noise: side x side, in [0, 1]."""
    kind = draws.choice(_PATTERNS)
    if kind == "plain":
        return np.full((side, side), draws.between(0, 0.2), dtype=np.float32)
    if kind == "noise":
        return to_unit(fractal(draws, (16, 8, 4, 2, 1), draws.between(0.6, 1.0), side))
    across, down = cosine_and_sine(draws.integer(0, TURN - 1))
    x, y = COLUMNS[:side, :side], ROWS[:side, :side]
    if kind == "gradient":
        return to_unit((x - side / 2) * across + (y - side / 2) * down, draws.between(0.5, 1.2) / side)
    width = draws.between(2.4, 5.0)
    bands = _bands((x * across + y * down) / width)
    if kind == "stripes":
        return to_unit(bands, width * 0.4)
    crossing = _bands((y * across - x * down) / width)
    return to_unit(bands + crossing - 0.5 if kind == "dots" else bands * crossing * 1.5, width * 0.4)


def _bands(along: Field) -> Field:
    """Return a triangle wave of period 2 between -1 and 1."""
    bands: Field = np.abs(along - np.floor(along / 2) * 2 - 1) * 2 - 1
    return bands


def _patch(draws: Draws) -> Field:
    """Draw a small disc, ellipse or slab with a soft edge: _WINDOW x _WINDOW, in [0, 1]."""
    across, down = cosine_and_sine(draws.integer(0, TURN - 1))
    x = COLUMNS[:_WINDOW, :_WINDOW] - (_WINDOW - 1) / 2
    y = ROWS[:_WINDOW, :_WINDOW] - (_WINDOW - 1) / 2
    u = np.abs(x * across + y * down) / draws.between(2.0, 6.5)
    v = np.abs(y * across - x * down) / draws.between(2.0, 6.5)
    reach = np.sqrt(u * u + v * v) if draws.chance(0.6) else np.maximum(u, v)
    return to_unit(1 - reach, 4.0)


@functools.lru_cache
def _triangle(radius: int) -> Field:
    """Return the weights of each row of a picture in row i - _REACH of the blurred picture."""
    apart = np.arange(-_REACH, SIDE + _REACH)[:, None] - np.arange(SIDE)
    weights: Field = np.maximum(radius - np.abs(apart), 0).astype(np.float32)
    return weights


def _blurred(covered: Field, down: int, right: int, radius: int) -> Field:
    """Move ``covered`` and blur it by a triangle of ``radius`` to either side; the result is in [0, 1]."""
    kernel = _triangle(radius)
    rows, columns = kernel[_REACH - down :][:SIDE], kernel[_REACH - right :][:SIDE]
    # Whole numbers up to 2**16: exact in any order.
    sums = (rows @ covered @ columns.T).astype(np.float32, copy=False)
    shares: Field = sums / float(FULL * radius * radius * radius * radius)
    return shares


def _seen_colours(draws: Draws, under: Field, near: Field) -> tuple[Colour, Colour]:
    """Draw two colours that stand out from the surface ``near`` the object (weights in [0, 2], SIDE x SIDE)."""
    # Whole numbers have the same sum in any order.
    weights = np.floor(near * 16)
    sums = (np.floor(under) * weights).sum((1, 2), dtype=np.float64)
    total = float(weights.sum(dtype=np.float64))
    mean = [level / total for level in sums.tolist()]

    def distance(colour: Colour) -> float:
        red, green, blue = (level - grey for level, grey in zip(colour, mean, strict=True))
        return float(2 * red * red + 4 * green * green + 3 * blue * blue)

    tried = [_colour(draws)]
    while distance(tried[-1]) < _CONTRAST and len(tried) < _TRIES:
        tried.append(_colour(draws))
    first = max(tried, key=distance)
    for _ in range(_TRIES):
        second = _colour(draws)
        # The mean of two colours that stand out may be the surface's own colour.
        red, green, blue = ((a + b) // 2 for a, b in zip(first, second, strict=True))
        if distance(second) >= _CONTRAST and distance((red, green, blue)) >= _CONTRAST / 2:
            return first, second
    return first, first
