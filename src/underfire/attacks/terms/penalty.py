"""The penalty term: the perturbation's own cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.attacks.terms.base import Point, Term


@dataclass(frozen=True)
class Penalty(Term):
    """The perturbation's own cost times its weight for each image: C&W's squared L2 distance, StAdv's flow roughness.

    The weight is 1, unless a search over constants sets it (``ConstantSearch``). PGD and BIM have a ball instead of a
    cost: attacks with them refuse the term.
    """

    name: ClassVar[str] = "penalty"
    needs_cost: ClassVar[bool] = True

    def __call__(self, point: Point) -> Tensor:
        return point.penalty * point.price
