"""Tests of paired differences, and their correction where many comparisons are made."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
import numpy.typing as npt

from underfire.errors import InputError
from underfire.metrics.statistics import Values, _array

EXACT = 14
"""The largest number of images with a difference for which all signs are tried: 2 ** 14 of them."""

FLIPS = 9999
"""Random draws of signs for more images."""

_VALUES = 1 << 19
"""Signs that are drawn at once."""


def sign_flip_test(differences: Values, seed: int = 0, flips: int = FLIPS) -> float | None:
    """Test whether paired differences have the mean 0, by flipping their signs at random (Fisher 1935).

    If the two attacks were alike, each difference would have either sign with the same probability. The p-value is the
    share of sign patterns whose mean is at least as far from 0 as the observed one (two-sided). It is exact for up to
    14 differences other than 0, and for differences of equal size, such as those of booleans (McNemar's exact test).
    For others it comes from random draws, with the observed pattern counted as one of them, so that it is never 0.

    Args:
        differences: N numbers, one per image: attack minus control.
        seed: of random draws.
        flips: the number of random draws, at least 1.

    Returns:
        The p-value in (0, 1]; None if there is no image.

    Raises:
        InputError: differences of more than one dimension, or with NaN or infinity, or no draws.
    """
    array = _array(differences, "differences")
    if flips < 1:
        raise InputError(f"flips is {flips}; expected at least 1.")
    if not len(array):
        return None
    sizes = np.abs(array[array != 0])  # a difference of 0 is the same with either sign
    count = len(sizes)
    if not count:
        return 1.0
    if sizes.min() == sizes.max():
        return _binomial(int((array > 0).sum()), count)
    observed = abs(float(array.sum()))
    edge = observed - 1e-9 * float(sizes.sum())  # sums of the same numbers in another order differ in their last bits
    if count <= EXACT:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float((np.abs((2 * patterns - 1) @ sizes) >= edge).mean())
    generator, reached = np.random.default_rng(seed), 0
    rows = max(1, _VALUES // count)
    for begin in range(0, flips, rows):
        signs = 2 * generator.integers(0, 2, size=(min(rows, flips - begin), count)) - 1
        reached += int((np.abs(signs @ sizes) >= edge).sum())
    return float((reached + 1) / (flips + 1))


def _binomial(positive: int, count: int) -> float:
    """Compute the two-sided p-value of ``positive`` heads in ``count`` throws of a fair coin."""
    fewer = min(positive, count - positive)
    return float(min(1.0, 2 * sum(comb(count, number) for number in range(fewer + 1)) / 2**count))


def holm(p_values: Sequence[float] | npt.NDArray[np.float64]) -> list[float]:
    """Correct p-values for the number of comparisons, by Holm's step-down method (1979).

    The smallest of m p-values is multiplied by m, the second smallest by m - 1, and so on. An adjusted value is never
    smaller than that of a smaller p-value, and at most 1. Rejecting every comparison whose adjusted value is at most
    0.05 keeps the probability of any false rejection at 0.05, whatever depends on whatever.

    Args:
        p_values: m numbers in [0, 1].

    Returns:
        The adjusted p-values, in the order of ``p_values``.

    Raises:
        InputError: a number outside of [0, 1], or NaN.
    """
    array = np.asarray(p_values, dtype=np.float64)
    if array.ndim != 1 or not bool(((array >= 0) & (array <= 1)).all()):
        raise InputError(f"p_values is {p_values!r:.80}; expected numbers in [0, 1], without NaN.")
    order = np.argsort(array, kind="stable")
    factors = np.arange(len(array), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(array[order] * factors))
    found = np.empty(len(array))
    found[order] = adjusted
    return [float(value) for value in found]
