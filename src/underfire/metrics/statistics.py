"""Means with an interval: no number without its n and its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from underfire.errors import InputError

Values = Tensor | npt.NDArray[np.generic] | Sequence[float] | Sequence[bool]

MEMORY = 1 << 20
"""Values drawn at a time, about 16 MB; a single resample of more values than that takes what it needs."""


@dataclass(frozen=True)
class Interval:
    """A mean over `n` images with the bounds of its confidence interval; all three None where n is 0."""

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """The four fields, ready for JSON: never NaN."""
        return asdict(self)


def bootstrap_mean(values: Values, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Mean of one value per image with its percentile bootstrap interval (Efron 1979).

    Args:
        values: N numbers or booleans (a rate is a mean of booleans).
        seed: of the resampling; the same values, seed and resamples give the same interval.
        resamples: how many samples of N are drawn with replacement, at least 1.
        level: coverage aimed at, in (0, 1). Below some 20 values the interval is too narrow.

    Returns:
        n = 0: all bounds None. n = 1, or all values equal: low = high = mean.

    Raises:
        InputError: values of more than one dimension, or with NaN or infinity.
    """
    array = _array(values, "values")
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"resamples is {resamples} and level is {level}; expected at least 1, and a share in (0, 1).")
    n = len(array)
    if n == 0:
        return Interval(None, None, None, 0)
    if array.min() == array.max():
        # Also for n > 1: the mean of equal values may differ from them in the last digit.
        return Interval(float(array[0]), float(array[0]), float(array[0]), n)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, MEMORY // n)
    for start in range(0, resamples, rows):
        drawn = generator.integers(0, n, size=(min(rows, resamples - start), n))
        means[start : start + rows] = array[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(array.mean()), float(low), float(high), n)


def rate(values: Values, level: float = 0.95) -> Interval:
    """Share of N booleans that are true with its score interval (Wilson 1927), which has a width also where all agree.

    Args:
        values: N booleans, or zeros and ones.
        level: coverage aimed at, in (0, 1).

    Returns:
        n = 0: all bounds None.

    Raises:
        InputError: values of more than one dimension, or other than 0 and 1.
    """
    array = _array(values, "values")
    if not 0 < level < 1:
        raise InputError(f"level is {level}; expected a share in (0, 1).")
    if not np.isin(array, (0.0, 1.0)).all():
        raise InputError("values holds others than 0 and 1; a rate is of booleans. For a mean, use bootstrap_mean.")
    n = len(array)
    if n == 0:
        return Interval(None, None, None, 0)
    z, share = NormalDist().inv_cdf((1 + level) / 2), float(array.mean())
    middle = share + z * z / (2 * n)
    half = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5
    whole = 1 + z * z / n
    low, high = (middle - half) / whole, (middle + half) / whole
    return Interval(share, 0.0 if share == 0 else low, 1.0 if share == 1 else high, n)


def interval(values: Values) -> Interval:
    """The 95 % interval that suits ``values``: of a `rate` where they are booleans, else of `bootstrap_mean`."""
    kind = values.dtype if isinstance(values, Tensor) else np.asarray(values).dtype
    return rate(values) if kind in (torch.bool, np.dtype(bool)) else bootstrap_mean(values)


def paired_difference(a: Values, b: Values, seed: int = 0, resamples: int = 2000, level: float = 0.95) -> Interval:
    """`bootstrap_mean` of a - b, image by image: what two attacks differ by on the same images.

    Images are resampled in pairs, so that what all attacks find hard about an image cancels; differences of
    0.005 between attacks, far below what unpaired means can show, are then visible.

    Args:
        a: N numbers or booleans.
        b: as many, in the same order of images.
        seed: as in `bootstrap_mean`.
        resamples: as in `bootstrap_mean`.
        level: as in `bootstrap_mean`.
    """
    first, second = _array(a, "a"), _array(b, "b")
    if first.shape != second.shape:
        raise InputError(f"a has shape {first.shape} and b has shape {second.shape}; expected the same images.")
    return bootstrap_mean(first - second, seed, resamples, level)


def _array(values: Values, name: str) -> npt.NDArray[np.float64]:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}; expected one value per image, shape (N,).")
    if not np.isfinite(array).all():
        raise InputError(
            f"{name} holds {int((~np.isfinite(array)).sum())} NaN or infinite values of {len(array)}; "
            "expected finite ones: leave out images that have no value, and say so."
        )
    return array
