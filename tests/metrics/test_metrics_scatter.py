"""How scattered maps are, and rank correlations with intervals: closed forms and slow replicas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from underfire import metrics
from underfire.errors import InputError


def slow_area(values: list[float]) -> float:
    """Fill a glass with the largest values until half of the mass is in it; the last one in thousandths."""
    half, held, taken = sum(values) / 2, 0.0, 0.0
    for value in sorted(values, reverse=True):
        if held + value >= half:
            return (taken + (half - held) / value) / len(values)
        held, taken = held + value, taken + 1
    raise AssertionError


def slow_spread(maps: np.ndarray) -> float:
    height, width = maps.shape
    cells = [(maps[r, c], (r + 0.5) / height, (c + 0.5) / width) for r in range(height) for c in range(width)]
    total = sum(mass for mass, _, _ in cells)
    row, column = (sum(cell[0] * cell[axis] for cell in cells) / total for axis in (1, 2))
    return math.sqrt(sum(mass * ((r - row) ** 2 + (c - column) ** 2) for mass, r, c in cells) / total)


def test_closed_forms() -> None:
    point = torch.zeros(1, 4, 5)
    point[0, 1, 2] = 0.7
    assert metrics.half_mass_area(point).item() == pytest.approx(0.5 / 20)
    assert metrics.mass_spread(point).item() == 0
    two = torch.zeros(1, 4, 4)
    two[0, 0, 0] = two[0, 3, 3] = 1
    assert metrics.half_mass_area(two).item() == pytest.approx(1 / 16)
    assert metrics.mass_spread(two).item() == pytest.approx(math.sqrt(2 * 0.375**2))
    for value in (0.0, 0.3, 1.0):
        constant = torch.full((1, 6, 6), value)
        assert metrics.half_mass_area(constant).item() == pytest.approx(0.5)
        assert metrics.mass_spread(constant).item() == pytest.approx(math.sqrt(2 * (1 - 1 / 36) / 12))


def test_replicas() -> None:
    maps = torch.rand(8, 5, 7, generator=torch.Generator().manual_seed(0)) ** 3
    area, spread = metrics.half_mass_area(maps), metrics.mass_spread(maps)
    for place in range(8):
        assert area[place].item() == pytest.approx(slow_area(maps[place].flatten().tolist()), rel=1e-6)
        assert spread[place].item() == pytest.approx(slow_spread(maps[place].double().numpy()), rel=1e-6)
    assert torch.equal(metrics.half_mass_area(maps[2:3]), area[2:3])
    with pytest.raises(InputError, match="maps"):
        metrics.half_mass_area(maps + 1)


def test_the_correlation_is_scipys_with_an_interval_around_it() -> None:
    from scipy.stats import spearmanr

    generator = np.random.default_rng(0)
    a = generator.normal(size=200).round(1)
    b = a + generator.normal(size=200)
    found = metrics.rank_correlation(a, b)
    assert found.n == 200
    assert found.mean == pytest.approx(spearmanr(a, b).statistic)
    assert found.low is not None
    assert found.high is not None
    error = math.sqrt((1 + found.mean**2 / 2) / 197)  # Bonett and Wright 2000, on the scale of atanh
    low, high = (math.tanh(math.atanh(found.mean) + side * 1.96 * error) for side in (-1, 1))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)
    assert found == metrics.rank_correlation(a, b)


def test_the_ends_of_correlations() -> None:
    rising = list(range(10))
    assert metrics.rank_correlation(rising, [value**3 for value in rising]).mean == pytest.approx(1)
    assert metrics.rank_correlation(rising, rising[::-1]).high == pytest.approx(-1)
    nothing = metrics.Interval(None, None, None, 10)
    assert metrics.rank_correlation(rising, [1.0] * 10) == nothing
    assert metrics.rank_correlation([1, 2, 3], [1, 2, 3]) == metrics.Interval(None, None, None, 3)
    with pytest.raises(InputError, match="the same images"):
        metrics.rank_correlation([1, 2], [1, 2, 3])
