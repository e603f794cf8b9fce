"""Intervals of joint success: images and limits are resampled together, because the limit is made from the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from underfire import metrics
from underfire.attacks.limits import Flags, Limit, Numbers, all_at_once, joint_success
from underfire.metrics import Interval
from underfire.metrics import resampling as samples
from underfire.metrics.statistics import stretch_of

BOUNDS = (0.025, 0.975)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attack or control: what joint success needs to know.

    Args:
        success: bool N, class reached.
        distances: N distances to the wanted map, by interpreter. Joint success asks for all of them at once.
    """

    success: Flags
    distances: Mapping[str, Numbers]


class JointIntervals:
    """Intervals of joint success for the images of one comparison.

    Each bootstrap sample draws images with replacement. The limit is made again from the noise draws and the chance
    control of the drawn images, and joint success is decided by it, so that the limit's own uncertainty is inside.
    Means are over images that were correct before.

    No sample has noise beyond the largest that was seen, so that the limits of samples are rather too small if images
    are few. So the upper bound also counts by mirrored limits: those by noise are as far above the one of all images as
    the sample's are below it (the basic bootstrap, on a logarithmic scale; Davison & Hinkley 1997, section 5.2). Both
    are stretched for few images as means are, see ``metrics.bootstrap_mean``. A difference has both at either bound.

    Args:
        limits: the limits of all N images, by interpreter.
        rounds: the number of samples.
        seed: of the samples.
    """

    def __init__(self, limits: Mapping[str, Limit], rounds: int = samples.ROUNDS, seed: int = 0) -> None:
        self.limits = dict(limits)
        self.correct: Flags = next(iter(limits.values())).correct
        self.count = int(self.correct.sum())
        self.drawn = samples.draw(self.count, rounds, seed)
        self._resampled: dict[str, Numbers] = {}
        self._spread: dict[str, tuple[Numbers, ...]] = {}

    def resampled(self, name: str) -> Numbers:
        """Return the limits of each sample: R, or n x 1 if each image has its own limit, which stays as it is."""
        if name not in self._resampled:
            self._resample(name, self.limits[name])
        return self._resampled[name]

    def spread(self, name: str) -> tuple[Numbers, ...]:
        """Return the limits of each sample, stretched, and the same mirrored; as ``resampled`` otherwise."""
        self.resampled(name)
        return self._spread[name]

    def _resample(self, name: str, limit: Limit) -> None:
        if limit.noise is None:
            own = limit.values[self.correct][:, None]
            self._resampled[name], self._spread[name] = own, (own, own)
            return
        noise = samples.noise_limits(limit.noise, self.drawn)
        chance = np.minimum(
            samples.pair_limits(limit.chance, self.drawn), samples.average_limits(limit.chance, self.drawn)
        )
        self._resampled[name] = np.minimum(noise, chance)
        both = [noise, noise]
        if limit.by_noise > 0:
            stretch = stretch_of(self.count) if self.count > 1 else 1.0
            with np.errstate(divide="ignore"):
                both = [limit.by_noise * (noise / limit.by_noise) ** power for power in (stretch, -stretch)]
        self._spread[name] = tuple(np.minimum(each, chance) for each in both)

    def flags(self, outcome: Outcome) -> Flags:
        """Decide joint success of all interpreters of ``outcome`` at once, bool N."""
        parts = outcome.distances.items()
        return all_at_once(
            {
                name: joint_success(outcome.success, self.correct, distance, self.limits[name].values)
                for name, distance in parts
            }
        )

    def shares(self, outcome: Outcome, limits: Callable[[str], Numbers]) -> Numbers:
        """Compute the share of joint success in each sample, R.

        Args:
            outcome: the outcome of the attack.
            limits: returns the limits for an interpreter, R or n x 1, such as ``resampled`` or ``fixed``.
        """
        passed = outcome.success[self.correct][:, None]
        for name, distance in outcome.distances.items():
            passed = passed & (distance[self.correct][:, None] < limits(name))
        found: Numbers = (self.drawn * passed).sum(axis=0) / self.count
        return found

    def fixed(self, name: str) -> Numbers:
        """Return the limits of all images, n x 1, whatever the sample."""
        return self.limits[name].values[self.correct][:, None]

    def _all_shares(self, outcome: Outcome) -> Numbers:
        """Compute the shares by the fixed limits, by the stretched ones, and by the mirrored ones: 3 x R."""
        ways = (self.fixed, lambda name: self.spread(name)[0], lambda name: self.spread(name)[1])
        return np.stack([self.shares(outcome, each) for each in ways])

    def joint(self, outcome: Outcome) -> Interval:
        """Compute joint success with its interval: the score interval (Wilson 1927), widened for the limit.

        A bootstrap of equal values would have no width.
        """
        alone = metrics.rate(self.flags(outcome)[self.correct])
        fixed, stretched, mirrored = self._all_shares(outcome)
        return _widened(alone, fixed, [stretched], [stretched, mirrored], least=0.0)

    def gap(self, first: Outcome, second: Outcome) -> Interval:
        """Compute joint success of ``first`` minus that of ``second``, paired: both use the same samples and limits.

        The interval is that of ``metrics.rate_difference``, widened for the limit.
        """
        alone = metrics.rate_difference(self.flags(first)[self.correct], self.flags(second)[self.correct])
        fixed, *free = self._all_shares(first) - self._all_shares(second)
        return _widened(alone, fixed, free, free, least=-1.0)

    def limit(self, name: str) -> Interval:
        """Compute the mean limit with its interval."""
        resampled = self.resampled(name)
        if resampled.ndim == 2:
            return metrics.interval(self.limits[name].values[self.correct], metrics.UNIT)
        low, high = (_finite(value) for value in np.quantile(resampled, BOUNDS, method="nearest"))
        return Interval(self.limits[name].mean, low, high, self.count)

    @cached_property
    def chance(self) -> dict[str, dict[str, Interval]]:
        """The chance control by interpreter: the share of pairs in which another image's map passes (``other``), and
        the share of images on which the average map passes (``average``)."""
        return {name: self._chance(name, limit) for name, limit in self.limits.items()}

    def _chance(self, name: str, limit: Limit) -> dict[str, Interval]:
        resampled, found = self.resampled(name), limit.chance
        if not len(found.distance):
            nothing = Interval(None, None, None, 0)
            return {"other": nothing, "average": nothing}
        own = limit.values[self.correct]
        near = found.average < own
        fixed, free = (
            (self.drawn * (found.average[:, None] < limit)).sum(axis=0) / self.count
            for limit in (own[:, None], resampled)
        )
        pairs = float((found.distance < own[found.first]).mean())
        low, high = np.nanquantile(samples.pair_shares(found, self.drawn, resampled), BOUNDS)
        other = Interval(pairs, float(low), float(high), self.count)
        if low == high:  # a bootstrap of equal values has no width, however few there are
            other = metrics.score_interval(pairs, self.count)
        return {"other": other, "average": _widened(metrics.rate(near), fixed, [free], [free], least=0.0)}


def _widened(
    alone: Interval, fixed: Numbers, lower: Sequence[Numbers], upper: Sequence[Numbers], least: float
) -> Interval:
    """Widen an interval that holds the limit fixed by what resampled limits add to the bounds of a bootstrap.

    Args:
        alone: the interval.
        fixed: the bootstrap with fixed limits, R.
        lower, upper: bootstraps of the same samples with the limits of the samples, R each, for either bound.
        least: the smallest possible value; the largest is 1.
    """
    if alone.low is None or alone.high is None:
        return alone
    below, above = (
        np.quantile(each, bound, axis=1) - np.quantile(fixed, bound)
        for each, bound in zip((lower, upper), BOUNDS, strict=True)
    )
    low, high = alone.low + min(0.0, float(below.min())), alone.high + max(0.0, float(above.max()))
    return Interval(alone.mean, max(least, low), min(1.0, high), alone.n)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
