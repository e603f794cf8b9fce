"""The interpretation term: the distance of the maps from the wanted ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from underfire.arguments import check_choice
from underfire.attacks.terms.base import Point, Term
from underfire.errors import InputError

_TINY = 1e-4
"""A distance between maps that is as good as none, so that the logarithm of no distance is finite."""


@dataclass(frozen=True)
class Interpretation(Term):
    """l_int, the squared difference between maps and wanted maps ([ADV2] eq. 5), summed over interpreters.

    If a view gives several maps per step (MASK: one for each step of its solver that is differentiated), the term is
    the mean over these maps, which are called looks.

    Args:
        reduction: ``mean`` or ``sum`` of the squares over a map's cells; the published setting for Grad sums. Or
            ``relative``: the logarithm of the root mean square times the mean absolute difference. A step then counts
            for the share of the distance that it takes away, so that maps of every kind, size and scale weigh the same.
        interpreter: the name of the only interpreter that counts; all of them if None.
    """

    name: ClassVar[str] = "interpretation"
    needs_maps: ClassVar[bool] = True

    reduction: Literal["mean", "sum", "relative"] = "mean"
    interpreter: str | None = None

    def __post_init__(self) -> None:
        check_choice("reduction", self.reduction, ("mean", "sum", "relative"))

    def __call__(self, point: Point) -> Tensor:
        looks = point.reading.looks
        if self.interpreter is not None and self.interpreter not in looks:
            raise InputError(
                f"interpreter is {self.interpreter!r}, and the attack reads the maps of {', '.join(looks) or 'none'}; "
                "expected one of these."
            )
        names = looks if self.interpreter is None else (self.interpreter,)
        return torch.stack([self._distance(looks[name], point.target_maps[name]) for name in names]).sum(0)

    def _distance(self, looks: Tensor, targets: Tensor) -> Tensor:
        """Average the distance of looks N x r x h x w to ``targets`` N x h x w over the r looks. N."""
        if self.reduction == "relative":
            apart = looks - targets.unsqueeze(1)
            root = (apart.square().mean((1, 2, 3)) + _TINY**2).sqrt()
            return (root * (apart.abs().mean((1, 2, 3)) + _TINY)).log()
        squares = (looks - targets.unsqueeze(1)).square()
        return squares.mean((1, 2, 3)) if self.reduction == "mean" else squares.mean(1).sum((1, 2))
