"""L-inf perturbations: projected gradient descent and its relatives."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.rules import per_image
from underfire.errors import InputError


def parse_eps(text: str) -> float:
    """A number or a fraction, such as ``0.031`` or ``8/255``."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"eps is {text!r}; expected a number or a fraction, such as 0.031 or 8/255.") from error


def eight_bit_box(images: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The lowest and highest 8-bit pixel values in [0, 1] that lie within ``eps`` of each pixel.

    An image is saved at 8 bits, so only these values can be judged: the attack searches between them, and rounding can
    never lead out of the ball. For eps = 0.031 (7.9 levels) that is a ball of 7 levels.
    """
    levels = images * 255
    low = torch.ceil(levels - eps * 255 - 1e-3).clamp_min(0) / 255
    high = torch.floor(levels + eps * 255 + 1e-3).clamp_max(255) / 255
    return low, high


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

    eps: float = 0.031
    random_start: bool = False
    rounded: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.eps <= 1:
            levels = f" Did you mean {self.eps:g}/255?" if 1 < self.eps <= 255 else ""
            raise InputError(
                f"eps is {self.eps:g}; expected 0 < eps <= 1, in units of pixels in [0, 1] (8/255 = 0.031).{levels}"
            )
        if self.eps * 255 + 1e-3 < 1:
            raise InputError(
                f"eps is {self.eps:.4g}, less than one 8-bit level (1/255 = 0.0039): no other image can be saved in "
                "that ball."
            )

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

    def noise(self, images: Tensor, adversarial: Tensor, ids: Tensor, seed: int) -> Tensor:
        """Every value moves by plus or minus eps (the 8-bit levels in it), at random."""
        low, high = eight_bit_box(images, self.eps)
        return torch.where(randomness.uniform(seed, ids, "noise control", 0, images.shape[1:]) < 0.5, high, low)
