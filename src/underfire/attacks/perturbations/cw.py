"""Carlini & Wagner's L2 perturbation: free in tanh space, and paid for by its length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.eps import check_eps
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.rules import per_image

INSIDE = 0.49 / 255
"""How far from 0 and 1 pixels begin: at the ends atanh is infinite, and such pixels would never move. As far as the
rounding to 8 bits takes back: from 1e-6, as is usual, it takes 400 of Adam's steps to come to the first other level."""
INSIDE_UNROUNDED = 1e-6


@dataclass(frozen=True)
class CW(Perturbation):
    """image = x + W (x' - x) with x' = (tanh(w) + 1) / 2 (Carlini & Wagner 2017, section V-B).

    No constraint but valid pixels; the penalty is the squared L2 distance of the composed image.

    Args:
        rounded: the attack sees the image at 8 bits, as it is judged, and differentiates straight through the rounding.
        noise_eps: size of the noise that it is compared with; None for as large as the change was.
    """

    name: ClassVar[str] = "cw"

    rounded: bool = True
    noise_eps: float | None = None

    def __post_init__(self) -> None:
        if self.noise_eps is not None:
            check_eps("noise_eps", self.noise_eps)

    def start(self, images: Tensor, weights: Tensor, ids: Tensor, seed: int) -> Theta:
        margin = INSIDE if self.rounded else INSIDE_UNROUNDED
        return {"w": torch.atanh(2 * images.clamp(margin, 1 - margin) - 1), "origin": images, "weights": weights}

    def variable(self, theta: Theta) -> Tensor:
        return theta["w"]

    def image(self, theta: Theta, variable: Tensor) -> Tensor:
        free = (torch.tanh(variable) + 1) / 2
        image = (theta["origin"] + theta["weights"] * (free - theta["origin"])).clamp(0, 1)
        return straight_through(image) if self.rounded else image

    def move(self, theta: Theta, direction: Tensor, size: Tensor) -> Theta:
        return theta | {"w": torch.addcmul(theta["w"], per_image(size, direction), direction)}

    def penalty(self, theta: Theta, variable: Tensor, image: Tensor) -> Tensor:
        return (image - theta["origin"]).square().flatten(1).sum(1)
