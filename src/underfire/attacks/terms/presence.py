"""The presence term: what an interpreter itself adds to the objective, beyond its map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.attacks.terms.base import Point, Term


@dataclass(frozen=True)
class Presence(Term):
    """A term that an interpreter's view offers, such as the presence or encoder term of RTS ([ADV2] section 3.4).

    Args:
        term: the name under which views offer it; 0 for every image if no view does.
    """

    name: ClassVar[str] = "presence"
    needs_maps: ClassVar[bool] = True

    term: str = "presence"

    def __call__(self, point: Point) -> Tensor:
        return point.reading.terms.get(self.term, torch.zeros_like(point.penalty))
