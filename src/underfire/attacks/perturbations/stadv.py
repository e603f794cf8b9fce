"""StAdv: pixels are moved, not changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from underfire import randomness
from underfire.arguments import check_at_least, check_choice
from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.cw import ADAM, ADAM_GRAD, ADAM_MASK
from underfire.attacks.perturbations.eps import EPS, check_eps
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.rows import Row
from underfire.attacks.rules import per_image
from underfire.attacks.variants import Variant
from underfire.transforms import warp

_PAIRS = {"adjacent": ((0, 1), (1, 0)), "diagonal": ((1, 1), (1, -1))}
"""Half of a pixel's neighbours; its other neighbours count the same pairs from their side."""

TAU = 5e-4
"""The weight of the flow's roughness ([ADV2] section 4.1)."""

STADV_ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "grad": replace(ADAM_GRAD, warmup=450, joint=704, penalty=TAU),
        "cam": replace(ADAM, warmup=200, joint=600, penalty=TAU),
        "rts": replace(ADAM, warmup=200, joint=600, penalty=TAU, presence=1.0),
        "mask": replace(ADAM_MASK, warmup=400, joint=1000, penalty=0.004),
    }
)


@dataclass(frozen=True)
class StAdv(Perturbation):
    """image = x + W (x' - x) with x' the image warped by a flow (Xiao et al. 2018).

    No constraint; the penalty is the flow's roughness, sum over pixels p and their neighbours q of
    sqrt(|u_p - u_q|^2 + |v_p - v_q|^2 + 1e-8) (ibid. eq. 5).

    Args:
        spread: the flow begins uniformly within plus and minus this many pixels.
        neighbours: ``adjacent``, the paper's four, or the four ``diagonal`` ones of published experiments. If None, the
            attack's variant decides, and ``adjacent`` counts outside of presets.
        rounded: show the image to the network at 8 bits, as it is judged, and pass gradients straight through.
        noise_eps: the size of the noise control, in pixel units; by default as large as the default radius of PGD.
    """

    name: ClassVar[str] = "stadv"
    about: ClassVar[str] = "pixels move instead of changing, at the cost of the flow's roughness; Adam"
    about_alone: ClassVar[str] = "class alone: pixels are moved, not changed"
    rows: ClassVar[Mapping[str, Row]] = STADV_ROWS

    spread: float = 0.1
    neighbours: Literal["adjacent", "diagonal"] | None = None
    rounded: bool = True
    noise_eps: float = EPS

    def __post_init__(self) -> None:
        check_at_least("spread", self.spread, 0, " pixels")
        if self.neighbours is not None:
            check_choice("neighbours", self.neighbours, _PAIRS)
        check_eps("noise_eps", self.noise_eps)

    def completed(self, joint: bool, shaped: bool, variant: Variant) -> Self:
        return replace(self, neighbours=self.neighbours or variant.neighbours)

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
        return 2 * sum(
            (_lengths(variable, *pair) for pair in _PAIRS[self.neighbours or "adjacent"]), start=image.new_zeros(())
        )


def _lengths(flow: Tensor, down: int, right: int) -> Tensor:
    """Sum the flow's differences to the neighbour (``down``, ``right``) over all pixels that have it. N."""
    height, width = flow.shape[2:]
    here = flow[:, :, : height - down, max(0, -right) : width - max(0, right)]
    there = flow[:, :, down:, max(0, right) : width + min(0, right)]
    return ((here - there).square().sum(1) + 1e-8).sqrt().flatten(1).sum(1)
