"""eps: a radius in L-inf, in units of pixels in [0, 1], and the 8-bit levels within it."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Real

import torch
from torch import Tensor

from underfire.errors import InputError

EPS = 0.031
"""The papers' radius."""


def parse_eps(text: str, name: str = "eps") -> float:
    """Parse a number or a fraction, such as ``0.031`` or ``8/255``. ``name`` is the argument's name in the error."""
    try:
        return float(Fraction(text.replace(" ", "")))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"{name} is {text!r}; expected a number or a fraction, such as 0.031 or 8/255.") from error


def parse_several_eps(text: str) -> tuple[float, ...]:
    """Parse radii with commas between them, such as ``2/255,4/255``; one radius is fine, too."""
    return tuple(parse_eps(part) for part in text.split(","))


def eps_text(eps: float) -> str:
    """Write a radius as users do, in the shorter way: ``8/255`` or ``0.031``.

    Different radii get different texts, and ``parse_eps`` gives back the same number.
    """
    number = repr(float(eps))
    if not math.isfinite(eps):
        return number
    levels = round(eps * 255)
    return min(number, f"{levels}/255", key=len) if levels / 255 == eps else number


def check_eps(name: str, eps: float) -> None:
    """Raise InputError if ``eps`` is no radius in pixel units, or holds no whole 8-bit level."""
    if not isinstance(eps, Real):
        raise InputError(f"{name} is {eps!r}; expected a number, such as 0.031, or 8 / 255.")
    if not 0 < eps <= 1:
        levels = f" Did you mean {eps:g}/255?" if 1 < eps <= 255 else ""
        raise InputError(
            f"{name} is {eps:g}; expected 0 < {name} <= 1, in units of pixels in [0, 1] (8/255 = 0.031).{levels}"
        )
    if eps * 255 + 1e-3 < 1:
        raise InputError(
            f"{name} is {eps:.4g}, less than one 8-bit level (1/255 = 0.0039): no other image can be saved in that "
            "ball."
        )


def eight_bit_box(images: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Find the lowest and highest 8-bit pixel values in [0, 1] within ``eps`` of each pixel.

    An image is saved at 8 bits, so only these values can be judged. The attack searches between them, so that rounding
    never leads out of the ball. For eps = 0.031 (7.9 levels) the ball has 7 levels.
    """
    levels = images * 255
    low = torch.ceil(levels - eps * 255 - 1e-3).clamp_min(0) / 255
    high = torch.floor(levels + eps * 255 + 1e-3).clamp_max(255) / 255
    return low, high
