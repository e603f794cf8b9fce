"""MASK's parameters, which depend on the image size: published values at 224 pixels, and values for 32 pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from underfire.errors import InputError

SMALL, LARGE = 32, 224


@dataclass(frozen=True)
class Scaled:
    """A positive parameter that depends on the image's short side.

    At other sizes it is the power of the side that goes through both values: its logarithm is linear in the logarithm
    of the side.

    Args:
        small: the value at 32 pixels.
        large: the value at 224 pixels.
    """

    small: float
    large: float

    def __post_init__(self) -> None:
        if not (self.small > 0 and self.large > 0):
            raise InputError(
                f"Scaled({self.small}, {self.large}) is not positive; a power of the side is never 0 or below. Give "
                "one number for all sizes."
            )

    def at(self, side: int) -> float:
        """Compute the value for images whose short side has ``side`` pixels."""
        share = math.log(side / SMALL) / math.log(LARGE / SMALL)
        return float(self.small * (self.large / self.small) ** share)


Value = float | Scaled


def at(value: Value, side: int) -> float:
    """Compute ``value`` for images whose short side has ``side`` pixels; a number is the same for all."""
    return value.at(side) if isinstance(value, Scaled) else float(value)


def values(value: Value | None) -> tuple[float, ...]:
    """Return the numbers that ``value`` consists of; none for None."""
    if value is None:
        return ()
    return (value.small, value.large) if isinstance(value, Scaled) else (value,)


def odd(value: float) -> int:
    """Round to the nearest odd number, at least 1, for the side of a window."""
    return max(1, 2 * round((value - 1) / 2) + 1)


@dataclass(frozen=True)
class Settings:
    """The parameters for one image size, all of them numbers.

    Args:
        height, width: sides of the image, in pixels.
        rows, columns: sides of the mask, in cells.
        blur, mask_blur: sides of the Gaussian windows, in pixels, odd; 1 for no blur.
        sigma, mask_sigma: standard deviations of the windows, in pixels.
        jitter: pixels by which the image is enlarged before a random crop.
        learning_rate, l1, tv, power, start: see ``MASK``; ``l1`` is the weight of the sum over cells.
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
    """Compute the standard deviation for a Gaussian window by OpenCV's rule: 3.5 for 21 pixels, 2 for 11."""
    return 0.3 * ((window - 1) / 2 - 1) + 0.8
