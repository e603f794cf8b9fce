"""What every rule for target maps offers, and the rule that keeps an image's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.attacks.benign import Benign


class MapRule(ABC):
    """Gives each image the map that the attack makes the interpreter show."""

    name: ClassVar[str]
    benign: ClassVar[bool] = False
    """Whether the target is the image's own benign map, which joint success then asks to be kept."""

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
