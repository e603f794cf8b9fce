"""How well scores tell attacked images from benign ones: the ROC curve and the area under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from underfire.errors import InputError
from underfire.metrics.statistics import MEMORY, Interval, Values, _array

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RocCurve:
    """The receiver operating characteristic: what each threshold detects, and what it costs.

    Args:
        thresholds: T thresholds from the highest to the lowest; an image is flagged if its score is higher.
        false_positives: T shares of benign images that are flagged.
        detections: T shares of attacked images that are flagged.
    """

    thresholds: Numbers
    false_positives: Numbers
    detections: Numbers


def roc_curve(benign: Values, attacked: Values) -> RocCurve:
    """Compute the ROC curve from (0, 0) to (1, 1), with one point for each different score.

    Args:
        benign: N scores of benign images, at least one.
        attacked: M scores of attacked images, at least one.

    Raises:
        InputError: there are no scores of one kind, or some are NaN or infinite.
    """
    low, high = _scores(benign, "benign"), _scores(attacked, "attacked")
    thresholds = np.append(np.unique(np.concatenate([low, high]))[::-1], -np.inf)

    def share(scores: Numbers) -> Numbers:
        found: Numbers = 1 - np.searchsorted(np.sort(scores), thresholds, side="right") / len(scores)
        return found

    return RocCurve(thresholds, share(low), share(high))


def roc_area(benign: Values, attacked: Values) -> float:
    """Compute the area under the ROC curve: the chance that an attacked image scores higher than a benign one.

    Equal scores count half (Hanley & McNeil 1982). 0.5 is chance. Arguments and errors as for ``roc_curve``.
    """
    low, high = np.sort(_scores(benign, "benign")), _scores(attacked, "attacked")
    below, upto = np.searchsorted(low, high, side="left"), np.searchsorted(low, high, side="right")
    return float((below + upto).mean() / (2 * len(low)))


def bootstrap_roc_area(
    benign: Values,
    attacked: Values,
    benign_images: Sequence[object] | None = None,
    attacked_images: Sequence[object] | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """``roc_area`` with its interval: the percentile bootstrap's, or ``area_interval``'s where that reaches farther.

    A bootstrap has no width if the scores of the two kinds do not overlap, and hardly any if few do.

    If the attacked images are made from the benign ones, source images are resampled: an image and its attacked form
    are drawn together. Otherwise both kinds are resampled by themselves.

    Args:
        benign: N scores.
        attacked: M scores.
        benign_images, attacked_images: the source image of each score, such as ids; None if the two kinds are not of
            the same images.
        seed: of the resampling.
        resamples: the number of samples.
        level: the nominal coverage, in (0, 1).

    Returns:
        The interval, with n = M. All bounds are None if N or M is 0.

    Raises:
        InputError: scores are NaN or infinite, or do not fit the source images.
    """
    low, high = _array(benign, "benign"), _array(attacked, "attacked")
    if (benign_images is None) != (attacked_images is None):
        raise InputError("benign_images and attacked_images come together; one of them is None.")
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"resamples is {resamples} and level is {level}; expected at least 1, and a share in (0, 1).")
    if not len(low) or not len(high):
        return Interval(None, None, None, len(high))
    if benign_images is None or attacked_images is None:
        first, second = np.arange(len(low)), len(low) + np.arange(len(high))
        groups = [len(low), len(high)]
    else:
        if len(benign_images) != len(low) or len(attacked_images) != len(high):
            raise InputError(
                f"there are {len(low)} and {len(high)} scores, and {len(benign_images)} and {len(attacked_images)} "
                "source images; expected one source image for each score."
            )
        place = {image: number for number, image in enumerate(dict.fromkeys([*benign_images, *attacked_images]))}
        first, second = (np.array([place[each] for each in some]) for some in (benign_images, attacked_images))
        groups = [len(place)]
    wins = (high[None] > low[:, None]) + 0.5 * (high[None] == low[:, None])
    areas = []
    generator = np.random.default_rng(seed)
    rows = max(1, MEMORY // sum(groups))
    for start in range(0, resamples, rows):
        counts = np.concatenate([_drawn(generator, min(rows, resamples - start), size) for size in groups], axis=1)
        weights, others = counts[:, first], counts[:, second]
        pairs = weights.sum(1) * others.sum(1)
        areas.append((((weights @ wins) * others).sum(1)[pairs > 0]) / pairs[pairs > 0])
    found = np.concatenate(areas)
    area = float(wins.mean())
    if not len(found):
        return Interval(area, None, None, len(high))
    below, above = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    low_end, high_end = area_interval(area, len(low), len(high), level)
    return Interval(area, min(float(below), low_end), max(float(above), high_end), len(high))


def area_interval(area: float, benign: int, attacked: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of an area under the ROC curve that is known without the single scores (Newcombe 2006, method 5).

    It holds the areas t with |area - t| <= z sqrt(V(t)), where V(t) is the variance of the area of N and M scores with
    exponential distributions (Hanley & McNeil 1982), with both N and M replaced by their mean in its last two terms.

    Args:
        area: in [0, 1].
        benign, attacked: the numbers N and M of scores, each at least 1.
        level: the nominal coverage, in (0, 1).

    Returns:
        The two ends, in [0, 1].
    """
    z, mean = NormalDist().inv_cdf((1 + level) / 2), (benign + attacked) / 2 - 1

    def inside(t: float) -> bool:
        spread = t * (1 - t) * (1 + mean * (1 - t) / (2 - t) + mean * t / (1 + t)) / (benign * attacked)
        return (area - t) ** 2 <= z * z * spread

    return _edge(inside, area, 0.0), _edge(inside, area, 1.0)


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    """Find how far an interval reaches from a point in it toward ``end``, by bisection."""
    if inside(end):
        return end
    for _ in range(60):
        middle = (start + end) / 2
        start, end = (middle, end) if inside(middle) else (start, middle)
    return start


def _drawn(generator: np.random.Generator, rows: int, size: int) -> Numbers:
    """Draw samples of ``size`` images with replacement, as counts: rows x size."""
    found = generator.multinomial(size, np.full(size, 1 / size), size=rows)
    return found.astype(np.float64)


def _scores(values: Values, name: str) -> Numbers:
    scores = _array(values, name)
    if not len(scores):
        raise InputError(f"{name} is empty; expected at least one score.")
    return scores
