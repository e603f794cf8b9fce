"""What a perturbation is: how an adversarial image is parameterised and moved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

Theta = dict[str, Tensor]


class Perturbation(ABC):
    """Parameters theta (a dict of tensors with leading dimension N) and the image they stand for."""

    name: ClassVar[str]

    @abstractmethod
    def start(self, images: Tensor, weights: Tensor, ids: Tensor, seed: int) -> Theta:
        """Parameters of the start.

        Args:
            images: benign images N x C x H x W in [0, 1] on the 8-bit grid.
            weights: the shaping, N x 1 x H x W in [0, 1].
            ids: int64 N, for random starts.
        """

    @abstractmethod
    def variable(self, theta: Theta) -> Tensor:
        """The part of theta that gradients are taken with respect to, N x ..."""

    @abstractmethod
    def image(self, theta: Theta, variable: Tensor) -> Tensor:
        """The image of ``variable``: valid pixels, constraint met, shaping applied; differentiable."""

    @abstractmethod
    def move(self, theta: Theta, direction: Tensor, size: Tensor) -> Theta:
        """Theta after a step of ``size`` (N) along ``direction`` (like the variable), constraint met."""

    def penalty(self, theta: Theta, variable: Tensor, image: Tensor) -> Tensor:
        """The perturbation's own cost on the composed image, N; 0 where it has a hard constraint instead."""
        return image.new_zeros(len(image))

    @abstractmethod
    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """``adversarial`` at 8 bits: the nearest level *inside* the constraint around ``images``."""

    def noise_eps(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """The L-inf size of the random noise that each image is compared with, N: as large as what was done to it."""
        return (adversarial - images).abs().flatten(1).amax(1)
