"""A fitted detector as attacks without gradients see it: scores, and nothing of how they come about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.attacks.terms import Point


@dataclass(frozen=True, eq=False, repr=False)
class Asked:
    """The scores of a fitted detector, for the term ``Score``. It is described as the detector, whose score it is.

    Args:
        scores: gives the scores N of images N x C x H x W.
        described: the description of the detector.
    """

    has_gradient: ClassVar[bool] = False

    scores: Callable[[Tensor], Tensor]
    described: str

    def score(self, point: Point) -> Tensor:
        """Ask for the scores N of ``point.image``, once at each point. They have no gradient."""
        if self.described not in point.known:
            point.known[self.described] = self.scores(point.image.detach()).to(point.image)
        return point.known[self.described]

    def __repr__(self) -> str:
        return self.described
