"""Limits on resamples of images: the bootstrap of a limit that is itself made from the images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from underfire.metrics.chance import CHANCE, Chance, Counts, Numbers, allowed
from underfire.metrics.prediction import QUANTILE

Drawn = npt.NDArray[np.uint16]
"""The number of times that each of N images is in each of R samples of N images: N x R."""

ROUNDS = 1000
"""The number of samples."""

CHUNK = 1024
"""Values that are looked at in one step, the smallest first. Most limits are found long before the largest."""


def draw(count: int, rounds: int = ROUNDS, seed: int = 0) -> Drawn:
    """Draw samples of ``count`` images with replacement, as counts N x R."""
    generator = np.random.default_rng(seed)
    found = np.empty((count, rounds), dtype=np.uint16)
    for sample in range(rounds):
        found[:, sample] = np.bincount(generator.integers(0, count, size=count), minlength=count)
    return found


def noise_limits(noise: Numbers, drawn: Drawn, quantile: float = QUANTILE) -> Numbers:
    """Compute the quantile of the noise distances of each sample, R, interpolated as by ``numpy.quantile``.

    Args:
        noise: N x K distances, K noise draws of each image.
    """
    count, draws = noise.shape
    order = np.argsort(noise, axis=None, kind="stable")
    values, image = noise.reshape(-1)[order], order // draws
    place = quantile * (count * draws - 1)
    low = int(np.floor(place))
    high = min(low + 1, count * draws - 1)
    below, above = (_crossing(values, lambda part: drawn[image[part]], np.full(drawn.shape[1], n)) for n in (low, high))
    found: Numbers = below + (place - low) * (above - below)
    return found


def average_limits(chance: Chance, drawn: Drawn, share: float = CHANCE) -> Numbers:
    """Compute ``largest_limit`` of the distances to the average map for each sample, R.

    The average map itself stays that of all images.
    """
    order = np.argsort(chance.average, kind="stable")
    most = np.full(drawn.shape[1], allowed(len(order), share))
    return _crossing(chance.average[order], lambda part: drawn[order[part]], most)


def pair_totals(chance: Chance, drawn: Drawn) -> Counts:
    """Count the pairs of two different images of each sample, R. An image that is there twice has its pairs twice."""
    groups, group = np.unique(chance.group, return_inverse=True)
    by_group = np.zeros((len(groups), drawn.shape[1]), dtype=np.int64)
    itself = np.zeros(drawn.shape[1], dtype=np.int64)
    for start in range(0, len(drawn), CHUNK):
        part = slice(start, start + CHUNK)
        counts = drawn[part].astype(np.int64)
        itself += (counts**2).sum(0)
        for each in np.unique(group[part]):
            by_group[each] += counts[group[part] == each].sum(0)
    totals: Counts = (by_group**2).sum(0) - itself
    return totals


def pair_limits(chance: Chance, drawn: Drawn, share: float = CHANCE) -> Numbers:
    """Compute ``largest_limit`` of the pairs for each sample, R; infinite for a sample without pairs."""
    totals = pair_totals(chance, drawn)
    # A sample without pairs never has more than 0 of them, so that no distance is found.
    return _crossing(chance.distance, lambda part: _weights(chance, drawn, part), allowed(totals, share))


def pair_shares(chance: Chance, drawn: Drawn, limits: Numbers) -> Numbers:
    """Compute the share of pairs that are nearer than each sample's limit, R; NaN for a sample without pairs.

    Args:
        limits: R limits, or N x 1 limits by image.
    """
    totals = pair_totals(chance, drawn)
    passed = np.zeros(drawn.shape[1])
    for start in range(0, int(np.searchsorted(chance.distance, limits.max(initial=0.0))), CHUNK):
        part = slice(start, start + CHUNK)
        edge = limits[chance.first[part]] if limits.ndim == 2 else limits
        near = chance.distance[part, None] < edge
        passed += (_weights(chance, drawn, part) * near).sum(axis=0)
    shares: Numbers = np.divide(passed, totals, out=np.full(drawn.shape[1], np.nan), where=totals > 0)
    return shares


def _weights(chance: Chance, drawn: Drawn, part: slice) -> Drawn:
    found: Drawn = drawn[chance.first[part]] * drawn[chance.second[part]]
    return found


def _crossing(values: Numbers, weights: Callable[[slice], Drawn], most: Counts) -> Numbers:
    """Find the first value at which the running sum of weights exceeds ``most``, R; infinite if none is.

    Args:
        values: P values, the smallest first.
        weights: returns the weights of some values in each sample.
        most: R.
    """
    found = np.full(len(most), np.inf)
    running = np.zeros(len(most), dtype=np.int64)
    for start in range(0, len(values), CHUNK):
        part = slice(start, start + CHUNK)
        sums = running + np.cumsum(weights(part), axis=0, dtype=np.int32)
        new = (sums[-1] > most) & np.isinf(found)
        found[new] = values[part][(sums[:, new] > most[new]).argmax(axis=0)]
        running = sums[-1]
        if (running > most).all():
            break
    return found
