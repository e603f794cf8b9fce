"""A fitted detector as attacks without gradients see it: scores, and nothing of how they come about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from underfire.attacks.terms import Point

if TYPE_CHECKING:
    from underfire.detectors.contract import FittedDetector


@dataclass(frozen=True, eq=False, repr=False)
class Asked:
    """A fitted detector as attacks without gradients see it: its scores of the images as they would be saved.

    It is described as the detector itself, whose score it is.
    """

    fitted: FittedDetector

    def score(self, point: Point) -> Tensor:
        """Ask for the scores N of ``point.image``, once at each point. They have no gradient."""
        key = repr(self)
        if key not in point.known:
            point.known[key] = self.fitted.scores(point.image.detach()).to(point.image)
        return point.known[key]

    def __repr__(self) -> str:
        return repr(self.fitted)
