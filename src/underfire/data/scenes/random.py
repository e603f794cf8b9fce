"""Random numbers for drawn pictures: each picture has its own, and they are the same on every machine.

Only the raw bits of numpy's counter-based Philox generator are used (Salmon et al. 2011), whose stream numpy
promises to keep; its distributions it does not. Sines come from a table of rounded values, since the last bit of
``math.cos`` differs between systems. With these, and arithmetic that IEEE 754 fixes to the last bit (no sums of
fractions whose order is free, no powers), a picture's 8-bit pixels do not depend on where they are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""One value per pixel, or three: what pictures are made of."""

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
    """Both for one angle, in 1/1024 of a turn."""
    return float(_COSINES[angle % TURN]), float(_COSINES[(angle - TURN // 4) % TURN])


class Draws:
    """The numbers of one picture for one purpose; a purpose has its own, so that one cannot shift another's.

    Args:
        subset, number: which picture, both 0 or more.
        purpose: what the numbers are for, 0 or more.
    """

    def __init__(self, subset: int, number: int, purpose: int) -> None:
        # The lowest word counts the blocks that are drawn, so the others must not run into each other.
        counter = np.array((0, purpose, number, subset), dtype=np.uint64)
        self._bits = np.random.Philox(key=_KEY, counter=counter)
        self._pool: list[int] = []

    def raw(self, count: int) -> NDArray[np.uint64]:
        """``count`` times 64 random bits."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def levels(self, rows: int, columns: int) -> Field:
        """-127.5, -126.5 .. 127.5, rows x columns."""
        count = rows * columns
        content = self.raw(-(-count // 8)).astype("<u8", copy=False).view(np.uint8)[:count]
        return content.reshape(rows, columns).astype(np.float32) - np.float32(127.5)

    def integer(self, low: int, high: int) -> int:
        """One of ``low`` .. ``high``, both included; ranges are far below 2**24, so that the bias is nil."""
        return low + (self._word() >> 40) * (high - low + 1) // (1 << 24)

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * ((self._word() >> 40) / (1 << 24))

    def chance(self, probability: float) -> bool:
        return self.between(0, 1) < probability

    def choice(self, options: Sequence[_T]) -> _T:
        return options[self.integer(0, len(options) - 1)]

    def _word(self) -> int:
        if not self._pool:
            self._pool = self.raw(_POOL).tolist()
        return self._pool.pop()
