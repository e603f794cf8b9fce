"""Random numbers for each picture, the same on every machine.

Only the raw bits of numpy's counter-based Philox generator are used (Salmon et al. 2011): numpy promises to keep its
stream of bits, but not its distributions. Sines come from a table of rounded values, because the last bit of
``math.cos`` differs between systems. All other arithmetic is fixed to the last bit by IEEE 754 (no sums of fractions in
free order, no powers). So the 8-bit pixels of a picture do not depend on the machine that draws them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""One value per pixel, or three."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

TURN = 1024
"""Angles are whole numbers of 1/1024 of a full turn."""

_COSINES = np.array([round(math.cos(2 * math.pi * step / TURN) * 65536) / 65536 for step in range(TURN)])
_KEY = np.array((0x5CE4E5, 0), dtype=np.uint64)
_POOL = 96
_T = TypeVar("_T")


def cosine(angle: Integers) -> Floats:
    """Cosines, in multiples of 2**-16, of angles in 1/1024 of a turn."""
    values: Floats = _COSINES[angle & (TURN - 1)]
    return values


def sine(angle: Integers) -> Floats:
    """Sines, in multiples of 2**-16, of angles in 1/1024 of a turn."""
    return cosine(angle - TURN // 4)


def cosine_and_sine(angle: int) -> tuple[float, float]:
    """Cosine and sine of one angle, in 1/1024 of a turn."""
    return float(_COSINES[angle % TURN]), float(_COSINES[(angle - TURN // 4) % TURN])


class Draws:
    """The random numbers of one picture for one purpose. Draws for one purpose do not change the draws for another.

    Args:
        subset, number: the picture, both 0 or more.
        purpose: the purpose of the numbers, 0 or more.
    """

    def __init__(self, subset: int, number: int, purpose: int) -> None:
        # Philox counts its blocks in the lowest word, so that word must be free.
        counter = np.array((0, purpose, number, subset), dtype=np.uint64)
        self._bits = np.random.Philox(key=_KEY, counter=counter)
        self._pool: list[int] = []

    def raw(self, count: int) -> NDArray[np.uint64]:
        """Draw ``count`` words of 64 random bits."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def levels(self, rows: int, columns: int) -> Field:
        """Draw values from -127.5, -126.5 .. 127.5: rows x columns."""
        count = rows * columns
        content = self.raw(-(-count // 8)).astype("<u8", copy=False).view(np.uint8)[:count]
        return content.reshape(rows, columns).astype(np.float32) - np.float32(127.5)

    def integer(self, low: int, high: int) -> int:
        """Draw one of ``low`` .. ``high``, both included. Ranges are far below 2**24, so the bias is tiny."""
        return low + (self._word() >> 40) * (high - low + 1) // (1 << 24)

    def between(self, low: float, high: float) -> float:
        """Draw a number in [low, high)."""
        return low + (high - low) * ((self._word() >> 40) / (1 << 24))

    def chance(self, probability: float) -> bool:
        return self.between(0, 1) < probability

    def choice(self, options: Sequence[_T]) -> _T:
        return options[self.integer(0, len(options) - 1)]

    def _word(self) -> int:
        if not self._pool:
            self._pool = self.raw(_POOL).tolist()
        return self._pool.pop()
