"""The threshold: closed forms, what it promises, and the number of images that a promise needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from underfire.detectors.threshold import calibrated, images_needed, likely_rates, warn_if_constant
from underfire.errors import InputError, UnderfireWarning


@pytest.mark.parametrize(
    ("rate", "count", "place"),
    [(0.05, 19, 19), (0.05, 20, 20), (0.05, 39, 38), (0.1, 9, 9), (0.1, 100, 91), (0.5, 1, 1), (0.05, 200, 191)],
)
def test_it_is_the_score_at_this_place(rate: float, count: int, place: int) -> None:
    """The smallest k with k >= (n + 1)(1 - rate), as in split conformal prediction, written with whole numbers."""
    scores = torch.arange(1.0, count + 1)[torch.randperm(count, generator=torch.Generator().manual_seed(0))]
    assert calibrated(scores, rate) == place
    hundredths = round(100 * (1 - rate))
    assert place == -(-(count + 1) * hundredths // 100)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.2])
def test_it_keeps_its_promise(rate: float) -> None:
    """Over many calibrations, the mean rate of false alarms is at most the one asked for, and not far below."""
    generator = np.random.default_rng(0)
    count = 3 * images_needed(rate)
    alarms = []
    for _ in range(400):
        scores = torch.from_numpy(generator.exponential(size=count))
        alarms.append(math.exp(-calibrated(scores, rate)))  # P(score > threshold) of this distribution
    error = 3 * np.std(alarms) / math.sqrt(len(alarms))
    assert np.mean(alarms) <= rate + error
    assert np.mean(alarms) >= rate / 2


@pytest.mark.parametrize(("rate", "count"), [(0.05, 200), (0.05, 19), (0.2, 40)])
def test_a_single_calibration_ends_in_the_likely_range(rate: float, count: int) -> None:
    """95 of 100 calibrations do; for uniform scores, the true rate is one minus the threshold."""
    generator = np.random.default_rng(1)
    low, high = likely_rates(count, rate)
    rates = np.array([1 - calibrated(torch.from_numpy(generator.uniform(size=count)), rate) for _ in range(2000)])
    assert np.mean((rates > low) & (rates < high)) == pytest.approx(0.95, abs=0.02)
    assert low < rates.mean() < high


def test_the_likely_range_of_200_images() -> None:
    assert likely_rates(200, 0.05) == pytest.approx((0.024, 0.084), abs=5e-4)


@pytest.mark.parametrize(("rate", "needed"), [(0.05, 19), (0.01, 99), (0.1, 9), (0.5, 1), (0.9, 1), (0.03, 33)])
def test_too_few_images(rate: float, needed: int) -> None:
    assert images_needed(rate) == needed
    calibrated(torch.arange(float(needed)), rate)
    if needed > 1:
        with pytest.raises(InputError, match=f"calibration holds {needed - 1} images, .* at least {needed} are needed"):
            calibrated(torch.arange(float(needed - 1)), rate)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(InputError, match=r"false_positives is .*; expected a share between 0 and 1"):
        calibrated(torch.arange(30.0), rate)


def test_a_constant_score_is_said() -> None:
    with pytest.warns(UnderfireWarning, match="the score of mine is 2 for all 5 calibration images: a constant score"):
        warn_if_constant(torch.full((5,), 2.0), "mine")
    warn_if_constant(torch.tensor([2.0, 2.0, 2.5]), "mine")


def test_equal_scores_raise_no_alarm() -> None:
    assert not bool((torch.ones(50) > calibrated(torch.ones(50), 0.05)).any())
