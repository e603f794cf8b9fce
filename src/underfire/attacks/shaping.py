"""Shapings: the weight of the perturbation at each pixel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from underfire.errors import InputError
from underfire.registry import Registry, instances_of
from underfire.transforms import sobel
from underfire.user_parts import Part, guarded, shape_of


class Shaping(Part, ABC):
    """Per-pixel weights on the perturbation, computed on the benign image."""

    name: ClassVar[str]

    @abstractmethod
    def weights(self, images: Tensor) -> Tensor:
        """Compute the weights N x 1 x H x W in [0, 1] for images N x C x H x W."""


def weights_of(shaping: Shaping, images: Tensor) -> Tensor:
    """Compute the weights of a shaping for images N x C x H x W.

    Raises:
        InputError: the shaping returns something else than weights N x 1 x H x W in [0, 1].
        UserCodeError: a shaping of the user's own raises an error.
    """
    found: Any = guarded(shaping, "shaping").weights(images)
    count, _, height, width = images.shape
    if not isinstance(found, Tensor) or found.shape not in ((count, 1, height, width), images.shape):
        raise InputError(
            f"shaping {shaping.name!r} returns {shape_of(found)}; expected weights of shape "
            f"({count}, 1, {height}, {width}), for images of shape {tuple(images.shape)}."
        )
    if not bool(((found >= 0) & (found <= 1)).all()):
        raise InputError(
            f"shaping {shaping.name!r} returns weights of {float(found.min()):.4g} to {float(found.max()):.4g}; "
            "expected weights in [0, 1], without NaN."
        )
    return found.to(images)


@dataclass(frozen=True)
class Uniform(Shaping):
    """The same weight everywhere (ADV2)."""

    name: ClassVar[str] = "uniform"

    def weights(self, images: Tensor) -> Tensor:
        return images.new_ones(len(images), 1, *images.shape[2:])


@dataclass(frozen=True)
class Edge(Shaping):
    """W = e, the Sobel magnitude of the grey image (AdvEdge, [EDGE] eq. 14). Flat pixels are never changed."""

    name: ClassVar[str] = "edge"

    def weights(self, images: Tensor) -> Tensor:
        return sobel(images)


@dataclass(frozen=True)
class EdgeMask(Shaping):
    """W = 1 where e > ``threshold``, and 0 elsewhere (AdvEdge+, [EDGE] eq. 15).

    Args:
        threshold: a pixel may change only if its Sobel magnitude exceeds this; in [0, 0.79).
        graded: W = e instead of 1 at these pixels, as in the published experiments with C&W and StAdv.
    """

    name: ClassVar[str] = "edge-mask"

    threshold: float = 0.1
    graded: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 0.79:
            raise InputError(
                f"threshold is {self.threshold}; expected 0 <= threshold < 0.79, the largest edge of an image in "
                "[0, 1] (a sixth of a photo's pixels exceed 0.1)."
            )

    def weights(self, images: Tensor) -> Tensor:
        edges = sobel(images)
        return torch.where(edges > self.threshold, edges if self.graded else torch.ones_like(edges), 0.0)


SHAPINGS: Registry[Shaping] = Registry(
    "shaping",
    "underfire.shapings",
    {shaping.name: shaping for shaping in (Uniform(), Edge(), EdgeMask())},
    instances_of(Shaping, "the shaping"),
)
"""Shapings with their default settings, by name."""
