"""What every rule for target maps offers, and the rule that keeps an image's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.errors import InputError


class MapRule(ABC):
    """Gives each image the map that the attack makes the interpreter show."""

    name: ClassVar[str]
    benign: ClassVar[bool] = False
    """Whether the target is the image's own benign map, which joint success then asks to be kept."""
    of_class: ClassVar[bool] = False
    """Whether the target is a map of the target class, which an untargeted attack does not have."""

    def check(self, targeted: bool) -> None:
        """Raise InputError where an attack with or without target classes cannot have such a target map."""
        if self.of_class and not targeted:
            raise InputError(
                f"target_map is {self.name!r}, the map of another image of the target class, and the attack is "
                "untargeted: it has no target class. Take another target map, or attack a class."
            )

    def classes(self, benign: Benign) -> tuple[int, ...] | None:
        """Where there are maps of some classes only: these, among which random target classes are drawn."""
        return None

    @abstractmethod
    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        """N x h x w in [0, 1] by interpreter, for images whose goal is about ``classes`` (int64 N)."""


@dataclass(frozen=True)
class BenignMap(MapRule):
    """The map of the clean image for its own class: the explanation that an analyst expects."""

    name: ClassVar[str] = "benign"
    benign: ClassVar[bool] = True

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        return benign.maps
