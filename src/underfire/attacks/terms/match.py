"""The match term: images with the class probabilities that the rule for target classes wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.attacks.terms.base import Point, Term
from underfire.attacks.terms.squeezed import l1
from underfire.errors import InputError


@dataclass(frozen=True)
class Match(Term):
    """relu(|p(x') - p*|_1 - slack * T), where p* are the wanted class probabilities ([ADV2] section 4.5, phase two).

    The rule ``grid`` finds p* on images of few bits, so that an image with these probabilities hardly changes its
    prediction when its bit depth is reduced.

    Args:
        threshold: the detector's threshold T for the bit depth, in [0, 2].
        slack: the share of the threshold that the distance is pushed below, in [0, 1].

    Raises:
        InputError: a number is impossible, or the rule for target classes wants no probabilities.
    """

    name: ClassVar[str] = "match"

    threshold: float = 0.0
    slack: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 2:
            raise InputError(f"threshold is {self.threshold}; expected 0 to 2, the largest L1 distance.")
        if not 0 <= self.slack <= 1:
            raise InputError(f"slack is {self.slack}; expected a share in [0, 1].")

    def __call__(self, point: Point) -> Tensor:
        if point.target_probabilities is None:
            raise InputError(
                f"term {self.name!r} needs class probabilities, and the rule for target classes wants none: it would "
                "be 0 for every image. The rule 'grid' of a targeted attack has some."
            )
        distance = l1(point.reading.logits.softmax(1), point.target_probabilities)
        return (distance - self.slack * self.threshold).clamp_min(0)
