"""StAdv: pixels are moved, not changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.eps import check_eps
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.rules import per_image
from underfire.errors import InputError
from underfire.transforms import warp

_PAIRS = {"adjacent": ((0, 1), (1, 0)), "diagonal": ((1, 1), (1, -1))}
"""Half of a pixel's neighbours, down and to the right; the others see the same pairs from the other side."""


@dataclass(frozen=True)
class StAdv(Perturbation):
    """image = x + W (x' - x) with x' the image warped by a flow (Xiao et al. 2018).

    No constraint; the penalty is the flow's roughness, sum over pixels p and their neighbours q of
    sqrt(|u_p - u_q|^2 + |v_p - v_q|^2 + 1e-8) (ibid. eq. 5).

    Args:
        spread: the flow begins uniformly within plus and minus so many pixels.
        neighbours: ``adjacent``, the four of the paper, or the four ``diagonal`` ones, as in published experiments.
        rounded: the attack sees the image at 8 bits, as it is judged, and differentiates straight through the rounding.
        noise_eps: size of the noise that it is compared with; None for as large as the change was.
    """

    name: ClassVar[str] = "stadv"

    spread: float = 0.1
    neighbours: Literal["adjacent", "diagonal"] = "adjacent"
    rounded: bool = True
    noise_eps: float | None = None

    def __post_init__(self) -> None:
        if self.spread < 0:
            raise InputError(f"spread is {self.spread}; expected 0 or more pixels.")
        if self.neighbours not in _PAIRS:
            raise InputError(f"neighbours is {self.neighbours!r}; expected 'adjacent' or 'diagonal'.")
        if self.noise_eps is not None:
            check_eps("noise_eps", self.noise_eps)

    def start(self, images: Tensor, weights: Tensor, ids: Tensor, seed: int) -> Theta:
        drawn = randomness.uniform(seed, ids, "flow", 0, (2, *images.shape[2:])).to(images.dtype)
        return {"flow": (2 * drawn - 1) * self.spread, "origin": images, "weights": weights}

    def variable(self, theta: Theta) -> Tensor:
        return theta["flow"]

    def image(self, theta: Theta, variable: Tensor) -> Tensor:
        origin = theta["origin"]
        image = (origin + theta["weights"] * (warp(origin, variable) - origin)).clamp(0, 1)
        return straight_through(image) if self.rounded else image

    def move(self, theta: Theta, direction: Tensor, size: Tensor) -> Theta:
        return theta | {"flow": torch.addcmul(theta["flow"], per_image(size, direction), direction)}

    def penalty(self, theta: Theta, variable: Tensor, image: Tensor) -> Tensor:
        return 2 * sum((_lengths(variable, *pair) for pair in _PAIRS[self.neighbours]), start=image.new_zeros(()))


def _lengths(flow: Tensor, down: int, right: int) -> Tensor:
    """The sum over pixels that have the neighbour (``down``, ``right``) of the flow's difference to it. N."""
    height, width = flow.shape[2:]
    here = flow[:, :, : height - down, max(0, -right) : width - max(0, right)]
    there = flow[:, :, down:, max(0, right) : width + min(0, right)]
    return ((here - there).square().sum(1) + 1e-8).sqrt().flatten(1).sum(1)
