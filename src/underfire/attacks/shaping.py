"""Shaping: how much of the perturbation each pixel gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


class Shaping(ABC):
    """Per-pixel weights on the perturbation, computed once on the benign image."""

    name: ClassVar[str]

    @abstractmethod
    def weights(self, images: Tensor) -> Tensor:
        """N x 1 x H x W in [0, 1] for images N x C x H x W."""


@dataclass(frozen=True)
class Uniform(Shaping):
    """The same weight everywhere (ADV2)."""

    name: ClassVar[str] = "uniform"

    def weights(self, images: Tensor) -> Tensor:
        return images.new_ones(len(images), 1, *images.shape[2:])
