"""L-inf perturbations: projected gradient descent and its relatives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Self

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.eps import EPS, check_eps, eight_bit_box
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.rows import GROWING, LENGTHS, Row, TwoMoves
from underfire.attacks.rules import Rule, SignOfMomentum, per_image
from underfire.attacks.schedule import Cosine, Phases, Weight
from underfire.attacks.variants import Variant
from underfire.errors import InputError

_RMS = 1 / math.sqrt(3 * 224 * 224)
"""The root mean square of an L2 step of 1 on the images of the published experiments."""

PGD_ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "grad": Row(
            warmup=300,
            joint=704,
            weight=Phases((0.001, 0.004, 0.01, 0.05), LENGTHS),
            reduction="sum",
            smoothing=0.05,
            confidence=0.8,
            rests=True,
            stop_after=0.86,
        ),
        "cam": Row(400, 1200, GROWING),
        "rts": Row(300, 1000, GROWING, presence=1.0),
        "mask": Row(
            400,
            1000,
            GROWING,
            loss="margin",
            moves=TwoMoves(0.05 * _RMS, Phases((0.08 * _RMS, 0.04 * _RMS), (900, 100))),
        ),
    }
)


@dataclass(frozen=True)
class PGD(Perturbation):
    """Steps that are clipped to the ball of radius ``eps`` around the image, and to [0, 1] (Madry et al. 2018).

    Args:
        eps: the radius in L-inf, in pixel units (8 / 255).
        random_start: begin at a random 8-bit image of the ball, weighted by the shaping. If None, prediction-only
            attacks begin there and joint attacks at the image, as published.
        rounded: show the image to the network at 8 bits, as it is judged, and pass gradients straight through the
            rounding. If None, shaped attacks and ``auto`` do: whole steps of 1/255 lie on the 8-bit grid anyway,
            theirs do not.
            (Nor do the guarded moves of MASK's schedule, whose guard looks at an image off the grid; which image is
            kept is decided at 8 bits, as everywhere.)
        evened: divide the weights of a shaping by their mean over the pixels that may change. Weights scale steps, not
            the ball, so that without this a shaped attack moves slowly. ``auto`` does so in any case.
    """

    name: ClassVar[str] = "pgd"
    about: ClassVar[str] = "every value changes by at most eps (L-inf); signed steps of 1/255"
    about_alone: ClassVar[str] = "class alone: signed steps in an L-inf ball, from a random start"
    step_unit: ClassVar[str] = "levels"
    rows: ClassVar[Mapping[str, Row]] = PGD_ROWS

    eps: float = EPS
    random_start: bool | None = None
    rounded: bool | None = None
    evened: bool = False

    def __post_init__(self) -> None:
        check_eps("eps", self.eps)

    def completed(self, joint: bool, shaped: bool, variant: Variant) -> Self:
        return replace(
            self,
            random_start=not joint if self.random_start is None else self.random_start,
            rounded=shaped if self.rounded is None else self.rounded,
        )

    def for_auto(self) -> tuple[Perturbation, Rule, Weight]:
        return (
            replace(self, rounded=self.rounded is not False, evened=True),
            SignOfMomentum(),
            Cosine(0.375 * self.eps, 0.004 * self.eps),
        )

    def alone(self) -> Perturbation:
        from_image = type(self) is PGD and not self.random_start  # a subclass may move in its own way
        return BIM(self.eps, rounded=self.rounded, evened=self.evened) if from_image else self

    @property
    def name_alone(self) -> str:
        return BIM.name if type(self) is PGD and self.random_start is False else self.name

    @property
    def noise_size(self) -> float:
        return self.eps

    def start(self, images: Tensor, weights: Tensor, ids: Tensor, seed: int) -> Theta:
        low, high = eight_bit_box(images, self.eps)
        image = images
        steps = _evened(weights) if self.evened else weights
        if self.random_start:
            drawn = randomness.uniform(seed, ids, "random start", 0, images.shape[1:])
            offset = (2 * drawn - 1) * self.eps * weights
            image = torch.clamp(torch.round((images + offset) * 255) / 255, low, high)
        return {"image": image, "low": low, "high": high, "weights": steps}

    def variable(self, theta: Theta) -> Tensor:
        return theta["image"]

    def image(self, theta: Theta, variable: Tensor) -> Tensor:
        return straight_through(variable) if self.rounded else variable

    def move(self, theta: Theta, direction: Tensor, size: Tensor) -> Theta:
        step = theta["weights"] * per_image(size, direction)
        moved = torch.addcmul(theta["image"], step, direction)
        return theta | {"image": torch.clamp(moved, theta["low"], theta["high"])}

    def reshaped(self, theta: Theta, weights: Tensor) -> Theta:
        return super().reshaped(theta, _evened(weights) if self.evened else weights)

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        low, high = eight_bit_box(images, self.eps)
        return torch.clamp(torch.round(adversarial * 255) / 255, low, high)


def _evened(weights: Tensor) -> Tensor:
    """Divide the weights N x ... of each image by their mean over the pixels whose weight is not 0."""
    total, count = weights.flatten(1).sum(1), (weights != 0).flatten(1).sum(1)
    return weights / per_image((total / count.clamp_min(1)).clamp_min(1e-20), weights)


@dataclass(frozen=True)
class BIM(PGD):
    """PGD that begins at the image (Kurakin et al. 2017); the joint attacks of the papers build on it."""

    name: ClassVar[str] = "bim"
    about: ClassVar[str] = "as pgd; but an attack on the class alone starts at the image, with pgd at random"
    about_alone: ClassVar[str] = "class alone: signed steps in an L-inf ball, from the image"

    random_start: bool | None = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.random_start:
            raise InputError("random_start is True, and bim starts at the image: pgd has a random start.")
