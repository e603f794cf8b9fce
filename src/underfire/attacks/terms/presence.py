"""The presence term: what an interpreter itself adds to the objective, beyond its map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.attacks.terms.base import Point, Term
from underfire.errors import InputError


@dataclass(frozen=True)
class Presence(Term):
    """A term that an interpreter's view offers, such as the presence or encoder term of RTS ([ADV2] section 3.4).

    Args:
        term: the name under which views offer it.

    Raises:
        InputError: no attacked interpreter offers such a term.
    """

    name: ClassVar[str] = "presence"
    needs_maps: ClassVar[bool] = True

    term: str = "presence"

    def __call__(self, point: Point) -> Tensor:
        offered = point.reading.terms
        if self.term not in offered:
            raise InputError(
                f"term {self.name!r} needs an interpreter that offers {self.term!r}, as rts does, and those that are "
                f"attacked offer {', '.join(offered) or 'none'}: it would be 0 for every image."
            )
        return offered[self.term]
