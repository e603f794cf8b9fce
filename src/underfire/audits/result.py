"""The result of an audit: shares of images with intervals, the images behind them, and what speaks against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.intervals import JointIntervals, Outcome
from underfire.attacks.limits import Flags, Limit, Numbers
from underfire.audits.doubt import Doubt
from underfire.audits.ensemble import Member
from underfire.audits.nearness import Nearness
from underfire.metrics import Interval


@dataclass(frozen=True)
class Robustness:
    """The robustness of one explanation at one radius, on N images, or of several explanations at once.

    Args:
        interpreter: the name of the interpreter; of several at once, their names, such as ``cam+grad``.
        eps: the radius in L-inf, in pixel units.
        correct: bool N, images that the classifier gets right.
        wrong: bool N, images for which some attack found another class.
        distances: by interpreter, float64 N: the map distance of the image of another class whose maps are nearest;
            infinite if none was found.
        limits: how near a map must be to count as kept, and where that comes from, by interpreter.
        wrong_by: the member of the ensemble that first found another class; a search only if no member with gradients
            found one, too. It is ``auto, smaller eps`` if the member found it at a smaller radius, ``auto, attack on
            NAME`` if it found it for another interpreter, and empty if none did.
        kept_by: the member that first found another class with a kept map; ``smaller eps`` if the map was kept at a
            smaller radius, ``auto, smaller eps`` if a member found the image there and its map is kept here alone, and
            ``auto, attack on NAME`` as in ``wrong_by``.
        gradients: int64 N, the gradients that were taken for each image at this radius.
        images: N x C x H x W, the image of another class with the nearest map; the clean image if there is none.
        classes: int64 N, the class of ``images``.
    """

    interpreter: str
    eps: float
    correct: Flags
    wrong: Flags
    distances: Mapping[str, Numbers]
    limits: Mapping[str, Limit] = field(repr=False)
    wrong_by: tuple[str, ...] = field(repr=False)
    kept_by: tuple[str, ...] = field(repr=False)
    gradients: Numbers = field(repr=False)
    images: Tensor = field(repr=False)
    classes: tuple[int, ...] = field(repr=False)

    @property
    def several(self) -> bool:
        """True for several explanations at once."""
        return len(self.limits) > 1

    @property
    def limit(self) -> Limit:
        """The limit of a single interpreter. Raises ValueError for several at once."""
        (found,) = self.limits.values()
        return found

    @property
    def nearest(self) -> Numbers:
        """How near the maps of the images of another class are, float64 N: a distance for one interpreter; see
        ``Nearness``."""
        parts = {name: torch.from_numpy(found) for name, found in self.distances.items()}
        nearness: Numbers = Nearness(self.limits).of(parts).numpy()
        return nearness

    @property
    def fooled(self) -> Flags:
        """True for right images on which some attack found another class with all maps kept, bool N.

        A map whose distance equals its limit is not kept.
        """
        kept = [self.distances[name] < limit.values for name, limit in self.limits.items()]
        found: Flags = self.correct & self.wrong & np.logical_and.reduce(kept)
        return found

    @property
    def accuracy(self) -> Interval:
        """The share of images that are classified correctly, with its interval (Wilson 1927)."""
        return metrics.rate(self.correct)

    @property
    def robust(self) -> Interval:
        """Robust accuracy: the share of images that are right, and for which no attack found another class."""
        return metrics.rate(self.correct & ~self.wrong)

    @cached_property
    def joint(self) -> Interval:
        """Joint robust accuracy: the share of images that are right, and on which no attack found another class with a
        kept map.

        The interval is the score interval (Wilson 1927) over all images, widened by what the uncertainty of the limit
        adds.
        """
        alone = metrics.rate(self.correct & ~self.fooled)
        if not self.correct.any() or alone.low is None or alone.high is None:
            return alone
        found = JointIntervals(self.limits).joint(Outcome(self.wrong, self.distances))
        fixed = metrics.rate(self.fooled[self.correct])
        assert found.low is not None
        assert found.high is not None
        assert fixed.low is not None
        assert fixed.high is not None
        share = float(self.correct.mean())
        low = alone.low - share * max(0.0, found.high - fixed.high)
        high = alone.high + share * max(0.0, fixed.low - found.low)
        return Interval(alone.mean, max(0.0, low), min(1.0, high), alone.n)

    @cached_property
    def chance(self) -> Mapping[str, Mapping[str, Interval]]:
        """The chance control by interpreter: how often another image's map (``other``) and the average map
        (``average``) would pass the limit."""
        return JointIntervals(self.limits).chance

    def to_dict(self) -> dict[str, Any]:
        """Convert the numbers to values for JSON; images are left out."""
        return {
            "interpreter": self.interpreter,
            "eps": self.eps,
            "clean_accuracy": self.accuracy.to_dict(),
            "robust_accuracy": self.robust.to_dict(),
            "joint_robust_accuracy": self.joint.to_dict(),
            "limit": None if self.several else self.limit.mean,
            "limit_set_by": None if self.several else self.limit.set_by,
            "chance": None if self.several else _as_values(self.chance[self.interpreter]),
            "gradients_per_image": float(self.gradients[self.correct].mean()) if self.correct.any() else 0.0,
        }


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Args:
        classifier: the classifier's name.
        ensemble: the name of the ensemble; ``own`` for members of your own.
        members: the attacks that ran.
        results: one for each interpreter and radius; with several interpreters, also one for all at once.
        quality: what is known about each interpreter's maps of clean images, in words, by interpreter.
        doubts: what speaks against the numbers.
        ids: the names of the N images.
        labels: their classes.
        class_names: one name for each class, if the classifier has names.
        seed: of all random numbers.
        clean: the images, N x C x H x W.
        keys: int64 N, the identities of the images, by which random numbers are drawn.
        settings: what each interpreter is, with its settings, by name.
        classifier_sha256: the hash of the classifier's weights and normalisation, as in runs and detectors.
    """

    classifier: str
    ensemble: str
    members: tuple[Member, ...]
    results: tuple[Robustness, ...]
    quality: Mapping[str, tuple[str, ...]]
    doubts: tuple[Doubt, ...]
    ids: tuple[str, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    seed: int = 0
    clean: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)
    keys: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64), repr=False)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    classifier_sha256: str = ""

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.ids)

    def of(self, interpreter: str, eps: float | None = None) -> Robustness:
        """Return the result of an interpreter, or of several (``cam+grad``), at a radius.

        Without a radius (``eps`` of None), it is the result at the only one.

        Raises:
            KeyError: there is no such result, or there are several.
        """
        found = [each for each in self.results if each.interpreter == interpreter and eps in (None, each.eps)]
        if len(found) != 1:
            known = ", ".join(f"{each.interpreter} at {each.eps:.4g}" for each in self.results)
            raise KeyError(f"there are {len(found)} results of {interpreter!r} at eps {eps}; known: {known}")
        return found[0]

    def doubts_of(self, result: Robustness) -> tuple[Doubt, ...]:
        """Return the doubts that concern one result."""
        return tuple(
            doubt
            for doubt in self.doubts
            if doubt.interpreter in (None, result.interpreter) and doubt.eps in (None, result.eps)
        )

    def worst_classes(self, result: Robustness) -> list[tuple[str, int, int]]:
        """List the name of each class, its fooled images and its right images, the worst class first."""
        found = []
        labels = np.array(self.labels)
        for number in sorted(set(self.labels)):
            right = result.correct & (labels == number)
            if right.any():
                found.append((self.name_of(number), int((result.fooled & right).sum()), int(right.sum())))
        return sorted(found, key=lambda each: -each[1] / each[2])

    def worst_images(self, result: Robustness) -> list[int]:
        """List the places of fooled images, the one whose map moved least first."""
        places = np.flatnonzero(result.fooled)
        order = np.argsort(result.nearest[places], kind="stable")
        return [int(place) for place in places[order]]

    def name_of(self, number: int) -> str:
        """Return the name of a class; its number if it has none."""
        return self.class_names[number] if number < len(self.class_names) else f"class {number}"

    def to_dict(self) -> dict[str, Any]:
        """Convert everything except images to values for JSON."""
        return {
            "classifier": self.classifier,
            "ensemble": self.ensemble,
            "attacks": [member.to_dict() for member in self.members],
            "images": self.count,
            "seed": self.seed,
            "interpreters": dict(self.settings),
            "results": [each.to_dict() for each in self.results],
            "quality": {name: list(lines) for name, lines in self.quality.items()},
            "doubts": [each.to_dict() for each in self.doubts],
        }

    def __repr__(self) -> str:
        lines = [f"Audit of {self.classifier} by {self.ensemble}, {self.count} images"]
        for each in self.results:
            lines.append(
                f"  {each.interpreter:<12} eps {each.eps:.4g}: accuracy {said(each.accuracy)}, robust "
                f"{said(each.robust)}, joint robust {said(each.joint)}"
            )
        lines += [f"  look: {doubt.text}" for doubt in self.doubts]
        return "\n".join(lines)


def _as_values(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_dict() for name, interval in intervals.items()}


def said(interval: Interval) -> str:
    """Write a share with its interval."""
    if interval.mean is None:
        return "unknown"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
