"""How scattered a map is over the image, and rank correlations of such values between images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from underfire.errors import InputError
from underfire.metrics._inputs import double, like_inputs, unit
from underfire.metrics.statistics import Interval, Values, _array, check_resampling

FEWEST = 8
"""The smallest number of images for which a correlation is computed: with fewer, values that have nothing to do with
each other seem to correlate in up to one of seven cases."""


def half_mass_area(maps: Tensor) -> Tensor:
    """Compute the smallest share of the image's area that holds half of each map's mass: N in (0, 0.5].

    The cells of a map are taken from the largest value down; of the last one, only the part that is needed counts. A
    map with all its mass in one of h x w cells has 0.5 / (h w), a constant map (also the zero map) 0.5.

    Args:
        maps: N x h x w in [0, 1].

    Raises:
        InputError: wrong rank, integers, NaN, or values outside [0, 1].
    """
    cells = _mass(maps).flatten(1).sort(dim=1, descending=True).values
    total = cells.cumsum(dim=1)
    half = total[:, -1:] / 2
    full = (total < half).sum(dim=1, keepdim=True).clamp(max=cells.shape[1] - 1)
    last = cells.gather(1, full)
    before = total.gather(1, full) - last
    return like_inputs(((full + (half - before) / last) / cells.shape[1])[:, 0], maps)


def mass_spread(maps: Tensor) -> Tensor:
    """Compute the spread of each map's mass around its centre, in fractions of the map's sides: N in [0, 0.71].

    sqrt(sum_i m_i |p_i - c|^2 / sum_i m_i), with the mass m_i and the position p_i of cell i in fractions of height and
    width, and c the centre of mass. 0 if all mass is in one cell; about 0.41 for a constant map, also for the zero map.

    Args:
        maps: N x h x w in [0, 1].

    Raises:
        InputError: as for ``half_mass_area``.
    """
    mass = _mass(maps)
    _, height, width = mass.shape
    total = mass.sum(dim=(1, 2))
    found = torch.zeros_like(total)
    for along, side in ((mass.sum(dim=2), height), (mass.sum(dim=1), width)):
        places = (torch.arange(side, dtype=mass.dtype, device=mass.device) + 0.5) / side
        centre = (along * places).sum(dim=1) / total
        found += (along * (places - centre.unsqueeze(1)).square()).sum(dim=1) / total
    return like_inputs(found.sqrt(), maps)


def _mass(maps: Tensor) -> Tensor:
    """Check maps, and return them in float64; the zero map counts as a constant one."""
    values = double(unit(maps, "maps", "maps"))
    nothing = values.amax(dim=(1, 2), keepdim=True) == 0
    return torch.where(nothing, 1.0, values)


def rank_correlation(a: Values, b: Values, seed: int = 0, resamples: int = 1000, level: float = 0.95) -> Interval:
    """Spearman's rank correlation of two values per image, with its percentile bootstrap interval.

    Ties get their average rank. Images are resampled with both of their values.

    Args:
        a: N numbers, or booleans.
        b: N numbers, or booleans, in the same order of images.
        seed: of the resampling.
        resamples: the number of samples, at least 1.
        level: the nominal coverage, in (0, 1).

    Returns:
        The correlation in [-1, 1] as ``mean``. All three are None for fewer than 8 images, and if all values of ``a``
        or of ``b`` are equal.

    Raises:
        InputError: different lengths, NaN or infinite values, no resamples, or an impossible level.
    """
    from scipy.stats import rankdata

    check_resampling(resamples, level)
    first, second = _array(a, "a"), _array(b, "b")
    if first.shape != second.shape:
        raise InputError(f"a has shape {first.shape} and b has shape {second.shape}; expected the same images.")
    count = len(first)
    if count < FEWEST or first.min() == first.max() or second.min() == second.max():
        return Interval(None, None, None, count)
    generator = np.random.default_rng(seed)
    drawn = np.concatenate([np.arange(count)[None], generator.integers(0, count, size=(resamples, count))])
    ranks = [rankdata(values[drawn], axis=1) - (count + 1) / 2 for values in (first, second)]
    scale = np.sqrt(np.square(ranks[0]).sum(1) * np.square(ranks[1]).sum(1))
    found = np.divide((ranks[0] * ranks[1]).sum(1), scale, out=np.full(len(scale), np.nan), where=scale > 0)
    low, high = np.nanquantile(found[1:], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(found[0]), float(low), float(high), count)
