"""The squeeze term: images whose prediction does not change when detail is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.attacks.terms.base import Point, Term
from underfire.attacks.terms.squeezed import squeezed
from underfire.errors import InputError
from underfire.transforms.squeezers import BitDepth, Median, Squeezer, squeezers

PUBLISHED: tuple[Squeezer, ...] = (BitDepth(3), Median(2), Median(3))
"""The squeezers that the published adaptive attack knows ([ADV2] section 4.5)."""


@dataclass(frozen=True)
class Squeeze(Term):
    """l_sqz, the cross-entropy between p(x') and p(psi(x')), summed over squeezers psi ([ADV2] section 4.5).

    It is -sum_k p_k(x') log p_k(psi(x')). Each squeezer takes one pass of the network per step, which is counted.

    Args:
        squeezers: squeezers, or their text forms, such as ``("bit-depth:3", "median:2")``.
    """

    name: ClassVar[str] = "squeeze"

    squeezers: tuple[Squeezer, ...] = PUBLISHED

    def __post_init__(self) -> None:
        object.__setattr__(self, "squeezers", checked(self.squeezers))

    def __call__(self, point: Point) -> Tensor:
        seen = point.reading.logits.softmax(1)
        return torch.stack([-(seen * squeezed(point, each).log_softmax(1)).sum(1) for each in self.squeezers]).sum(0)

    @property
    def steps_alike(self) -> bool:
        return all(each.on_device for each in self.squeezers)


def checked(given: tuple[Squeezer | str, ...] | str | Squeezer) -> tuple[Squeezer, ...]:
    """Turn squeezers and text forms into squeezers.

    Raises:
        InputError: there is none, an unknown one, or one twice.
    """
    made = squeezers(given)
    if not made:
        raise InputError("squeezers is empty; expected at least one, such as bit-depth:3.")
    return made
