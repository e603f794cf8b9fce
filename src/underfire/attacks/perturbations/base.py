"""What a perturbation is: how an adversarial image is parameterised and moved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.perturbations.eps import eight_bit_box
from underfire.attacks.rules import per_image

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

    def reshaped(self, theta: Theta, weights: Tensor) -> Theta:
        """Theta from here on under another shaping, N x 1 x H x W."""
        return theta | {"weights": weights}

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """``adversarial`` at 8 bits: the nearest level *inside* the constraint around ``images``."""
        return (adversarial * 255).round().clamp(0, 255) / 255

    @property
    def noise_eps(self) -> float | None:
        """Size of the noise that an attack is compared with, in units of pixels; None for as large as the change."""
        return None

    def noise(self, images: Tensor, adversarial: Tensor, ids: Tensor, seed: int) -> Tensor:
        """The random noise that ``adversarial`` is compared with, at 8 bits: every value moves up or down at random, by
        ``noise_eps`` (the levels in it); or where that is None, by as much as the attack moved them in root mean square
        over the image, a whole number of levels each."""
        drawn = randomness.uniform(seed, ids, "noise control", 0, images.shape[1:])
        if self.noise_eps is not None:
            low, high = eight_bit_box(images, self.noise_eps)
            return torch.where(drawn < 0.5, high, low)
        size = ((adversarial - images) * 255).flatten(1).square().mean(1).sqrt()
        low = size.floor()
        more = per_image((size.square() - low.square()) / (2 * low + 1), images)  # how often one level more
        levels = per_image(low, images) + ((2 * drawn) % 1 < more)
        moved = images * 255 + torch.where(drawn < 0.5, levels, -levels)
        return moved.round().clamp(0, 255) / 255
