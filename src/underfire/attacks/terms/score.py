"""The score term: images whose score under any differentiable detector is low."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from underfire.arguments import check_between
from underfire.attacks.terms.base import Evading, Point
from underfire.errors import InputError
from underfire.user_parts import guarded, shape_of, shown


@runtime_checkable
class Scoring(Protocol):
    """A detector with a differentiable score."""

    def score(self, point: Point) -> Tensor:
        """Compute the score of every image, N; higher means more suspicious. Differentiable in ``point.image``."""


@dataclass(frozen=True)
class Score(Evading):
    """relu(s(x') - T + margin), where s is a detector's own score and T its threshold.

    Args:
        detector: an object with a method ``score(point)``, or a function of a ``Point``, that returns N values;
            ``point.run`` runs the network on other images. Use ``ScoreOfMaps`` for a score that reads maps.
        threshold: the score above which the detector notices an image; scores are lowered without an end if it is
            -infinity.
        margin: how far below the threshold scores are pushed, at least 0.

    Raises:
        InputError: the detector has no score, or a number is impossible.
    """

    name: ClassVar[str] = "score"

    detector: Scoring | Callable[[Point], Tensor]
    threshold: float = -math.inf
    margin: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.detector, Scoring) and not callable(self.detector):
            raise InputError(
                f"detector is {shown(self.detector)}; expected an object with a method score(point), or a function."
            )
        anything = (-math.inf, math.inf)
        check_between("threshold", self.threshold, *anything, "a number, or -inf for none", "[)")
        check_between("margin", self.margin, 0, math.inf, "at least 0", "[)")
        if self.margin and math.isinf(self.threshold):
            raise InputError(f"margin is {self.margin}, and there is no threshold that scores could be pushed below.")

    def __call__(self, point: Point) -> Tensor:
        score = self._score(point)
        return score if math.isinf(self.threshold) else (score - self.threshold + self.margin).clamp_min(0)

    def evades(self, point: Point) -> Tensor:
        return self._score(point) <= self.threshold

    @property
    def has_gradient(self) -> bool:
        """As the detector's attribute ``has_gradient`` says; True if it has none."""
        return bool(getattr(self.detector, "has_gradient", True))

    @property
    def steps_alike(self) -> bool:
        return False  # the detector may do anything

    def _score(self, point: Point) -> Tensor:
        named = getattr(self.detector, "name", None) or type(self.detector).__name__
        own: Any = guarded(self.detector, "detector", str(named))
        found: Any = own.score(point) if isinstance(self.detector, Scoring) else own(point)
        if not isinstance(found, Tensor) or found.shape != (len(point.image),):
            raise InputError(
                f"the score of detector {named!r} returns {shape_of(found)}; expected a tensor of {len(point.image)} "
                "values, one per image."
            )
        return found


@dataclass(frozen=True)
class ScoreOfMaps(Score):
    """``Score`` for a detector that reads maps: ``point.reading.maps`` has those of all attacked interpreters."""

    needs_maps: ClassVar[bool] = True
