"""MASK's parameters for an image size: the published ones at 224 pixels, those for small images at 32, and between."""

from __future__ import annotations

import math
from dataclasses import dataclass

from underfire.errors import InputError

SMALL, LARGE = 32, 224


@dataclass(frozen=True)
class Scaled:
    """A positive parameter that depends on the image's short side: ``small`` at 32 pixels, ``large`` at 224, and the
    power of the side that joins them elsewhere (its logarithm is linear in the side's)."""

    small: float
    large: float

    def __post_init__(self) -> None:
        if not (self.small > 0 and self.large > 0):
            raise InputError(
                f"Scaled({self.small}, {self.large}) is not positive; what is 0 at one size has no power of the side "
                "that leads there: give one number for all sizes."
            )

    def at(self, side: int) -> float:
        share = math.log(side / SMALL) / math.log(LARGE / SMALL)
        return float(self.small * (self.large / self.small) ** share)


Value = float | Scaled


def at(value: Value, side: int) -> float:
    """``value`` for images whose short side has ``side`` pixels; a number is the same for all."""
    return value.at(side) if isinstance(value, Scaled) else float(value)


def values(value: Value | None) -> tuple[float, ...]:
    """The numbers that ``value`` consists of; none for None."""
    if value is None:
        return ()
    return (value.small, value.large) if isinstance(value, Scaled) else (value,)


def odd(value: float) -> int:
    """The odd number nearest to ``value``, at least 1: the side of a blur's window."""
    return max(1, 2 * round((value - 1) / 2) + 1)


@dataclass(frozen=True)
class Settings:
    """The parameters for one image size, all of them numbers.

    Args:
        height, width: of the image, in pixels.
        rows, columns: of the mask.
        blur, mask_blur: sides of the Gaussian windows, in pixels; odd, 1 for none.
        sigma, mask_sigma: their standard deviations, in pixels.
        jitter: pixels by which the image is enlarged before a random crop.
        learning_rate, l1, tv, power, start: see ``interpreters.mask.MASK``; ``l1`` weighs the sum
            over cells.
    """

    height: int
    width: int
    rows: int
    columns: int
    blur: int
    sigma: float
    mask_blur: int
    mask_sigma: float
    jitter: int
    learning_rate: float
    l1: float
    tv: float
    power: float
    start: float


def usual_sigma(window: int) -> float:
    """The standard deviation that goes with a window where none is given (OpenCV's rule): 3.5 for 21, 2 for 11."""
    return 0.3 * ((window - 1) / 2 - 1) + 0.8
