"""Thresholds: the score above which an image counts as attacked, for a chosen rate of false alarms."""

from __future__ import annotations

import math

from torch import Tensor

from underfire.arguments import check_between
from underfire.errors import InputError, warn

ROUNDING = 1e-9
"""The most that a product of a rate and a count is off by rounding."""


def images_needed(rate: float) -> int:
    """Return the smallest number of calibration images with which a false-positive rate can be promised."""
    return max(1, math.ceil(1 / rate - 1 - ROUNDING))


def check_rate(rate: float) -> None:
    """Raise InputError if ``rate`` is no share between 0 and 1."""
    expected = "a share between 0 and 1, such as 0.05 for one false alarm in 20"
    check_between("false_positives", rate, 0, 1, expected)


def calibrated(scores: Tensor, rate: float) -> float:
    """Return the smallest threshold that a benign image exceeds with a probability of at most ``rate``.

    Of the n scores, floor((n + 1) x rate) - 1 lie above the threshold. If further benign images come from the same
    source, this bounds the expected rate of false alarms, whatever the distribution of the scores (split conformal
    prediction, Papadopoulos et al. 2002).

    Args:
        scores: N scores of benign images that the detector was not fitted on.
        rate: the false-positive rate, in (0, 1).

    Raises:
        InputError: there are too few images for this rate; the message has the number that is needed.
    """
    check_rate(rate)
    count, needed = len(scores), images_needed(rate)
    if count < needed:
        raise InputError(
            f"calibration holds {count} images, too few for a false-positive rate of {rate:g}: at least {needed} are "
            "needed. Give more images, or allow more false alarms."
        )
    return float(scores.double().sort(descending=True).values[_above(count, rate)])


def likely_rates(count: int, rate: float, level: float = 0.95) -> tuple[float, float]:
    """Return the range that the true rate of false alarms is in, for a share ``level`` of all calibrations.

    The rate that ``calibrated`` asks for holds on average over calibrations. With few images, a single calibration may
    end far from it: its true rate has the distribution Beta(a + 1, n - a), where a of the n scores lie above the
    threshold (Vovk 2012). For scores without ties.

    Args:
        count: the number of calibration images; enough for the rate.
        rate: the false-positive rate that the threshold was chosen for.
        level: the share of calibrations, in (0, 1).
    """
    from scipy.special import betaincinv

    above = _above(count, rate)
    low, high = (float(betaincinv(above + 1, count - above, (1 + sign * level) / 2)) for sign in (-1, 1))
    return low, high


def _above(count: int, rate: float) -> int:
    """Return the number of calibration scores that lie above the threshold."""
    return math.floor((count + 1) * rate + ROUNDING) - 1


def warn_if_constant(scores: Tensor, name: str) -> None:
    """Warn if all scores are equal: then the detector tells nothing apart."""
    if len(scores) > 1 and bool((scores == scores[0]).all()):
        warn(
            f"the score of {name} is {float(scores[0]):.6g} for all {len(scores)} calibration images: a constant score "
            "tells nothing apart, and its threshold means nothing. Its settings may be too weak for these images."
        )
