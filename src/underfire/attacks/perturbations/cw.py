"""Carlini & Wagner's L2 perturbation: unconstrained in tanh space, with the L2 distance as a cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.eps import EPS, check_eps
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.rows import GROWING, LENGTHS, Row
from underfire.attacks.rules import Adam, per_image
from underfire.attacks.schedule import Constant, Phases
from underfire.attacks.terms.prediction import Prediction
from underfire.attacks.variants import Variant

INSIDE = 0.49 / 255
"""The distance from 0 and 1 at which pixels begin, since atanh is infinite there and such pixels would never move.

Rounding to 8 bits takes this distance back. From the usual 1e-6, Adam needs 400 steps to the first other level."""
INSIDE_UNROUNDED = 1e-6

ADAM = Row(0, 0, GROWING, prediction=2.0, rule=Adam(), size=0.01)
"""The parts that the schedules of C&W and StAdv have in common."""
ADAM_GRAD = replace(ADAM, weight=Phases((0.003, 0.01, 0.05, 0.2), LENGTHS), reduction="sum", confidence=0.75)
ADAM_MASK = replace(ADAM, weight=Constant(500.0), prediction=1.0, loss="margin", kappa=5.0, size=0.005)

CW_ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "grad": replace(ADAM_GRAD, warmup=450, joint=704, penalty=1.0),
        "cam": replace(ADAM, warmup=300, joint=1500, penalty=1.0),
        "rts": replace(ADAM, warmup=300, joint=1000, penalty=1.0, presence=1.0),
        "mask": replace(ADAM_MASK, warmup=400, joint=1000, penalty=1.0),
    }
)


@dataclass(frozen=True)
class CW(Perturbation):
    """image = x + W (x' - x) with x' = (tanh(w) + 1) / 2 (Carlini & Wagner 2017, section V-B).

    No constraint but valid pixels; the penalty is the squared L2 distance of the composed image.

    Args:
        rounded: show the image to the network at 8 bits, as it is judged, and pass gradients straight through.
        noise_eps: the size of the noise control, in pixel units; by default as large as the default radius of PGD.
    """

    name: ClassVar[str] = "cw"
    about: ClassVar[str] = "every pixel may change, at the cost of the squared L2 length (Carlini & Wagner); Adam"
    about_alone: ClassVar[str] = "class alone: Carlini & Wagner's L2"
    rows: ClassVar[Mapping[str, Row]] = CW_ROWS
    prediction: ClassVar[Prediction] = Prediction("margin")

    rounded: bool = True
    noise_eps: float = EPS

    def __post_init__(self) -> None:
        check_eps("noise_eps", self.noise_eps)

    def warmup_factor(self, variant: Variant) -> float:
        return variant.warmup_constant

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
