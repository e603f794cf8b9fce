"""L-inf perturbations: projected gradient descent and its relatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.eps import EPS, check_eps, eight_bit_box
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.rules import per_image


@dataclass(frozen=True)
class PGD(Perturbation):
    """Steps clipped to the ball of radius ``eps`` around the image, and to [0, 1] (Madry et al. 2018).

    Args:
        eps: radius in L-inf, in pixel units (8 / 255).
        random_start: begin at a random 8-bit image of the ball, weighted by the shaping; without one and with the sign
            rule this is BIM (Kurakin et al. 2017), which ADV2 builds on.
        rounded: the attack sees the image at 8 bits, as it is judged, and differentiates straight through the rounding.
            Whole steps of 1/255 lie there anyway; shaped ones do not.
    """

    name: ClassVar[str] = "pgd"

    eps: float = EPS
    random_start: bool = False
    rounded: bool = False

    def __post_init__(self) -> None:
        check_eps("eps", self.eps)

    @property
    def noise_eps(self) -> float | None:
        return self.eps

    def start(self, images: Tensor, weights: Tensor, ids: Tensor, seed: int) -> Theta:
        low, high = eight_bit_box(images, self.eps)
        image = images
        if self.random_start:
            drawn = randomness.uniform(seed, ids, "random start", 0, images.shape[1:])
            offset = (2 * drawn - 1) * self.eps * weights
            image = torch.clamp(torch.round((images + offset) * 255) / 255, low, high)
        return {"image": image, "low": low, "high": high, "weights": weights}

    def variable(self, theta: Theta) -> Tensor:
        return theta["image"]

    def image(self, theta: Theta, variable: Tensor) -> Tensor:
        return straight_through(variable) if self.rounded else variable

    def move(self, theta: Theta, direction: Tensor, size: Tensor) -> Theta:
        step = theta["weights"] * per_image(size, direction)
        moved = torch.addcmul(theta["image"], step, direction)
        return theta | {"image": torch.clamp(moved, theta["low"], theta["high"])}

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        low, high = eight_bit_box(images, self.eps)
        return torch.clamp(torch.round(adversarial * 255) / 255, low, high)
