"""The evade term: images that feature squeezing does not notice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.attacks.terms.base import Evading, Point
from underfire.attacks.terms.squeeze import PUBLISHED, checked
from underfire.attacks.terms.squeezed import shift
from underfire.errors import InputError
from underfire.transforms.squeezers import Squeezer


@dataclass(frozen=True)
class Evade(Evading):
    """sum_i w_i * relu(|p(x') - p(psi_i(x'))|_1 - slack * T_i) over squeezers psi_i ([ADV2] section 4.5, phase two).

    The term is 0 as soon as all scores of the detector are below its thresholds T_i, with some room to spare. Each
    squeezer takes one pass of the network per step, which is counted.

    Args:
        squeezers: squeezers, or their text forms, such as ``("bit-depth:3", "median:2")``.
        thresholds: the score above which the detector notices an image, one per squeezer, in [0, 2], or None where it
            is not known. Then the term asks for a score as low as possible, and the squeezer has no part in whether
            the detector notices an image. If all are unknown, or there are none, they are all 0.
        weights: the weight of each squeezer, at least 0; all 1 if empty.
        slack: the share of the thresholds that scores are pushed below, in [0, 1].

    Raises:
        InputError: a setting has an impossible value, or there are more or fewer thresholds or weights than squeezers.
    """

    name: ClassVar[str] = "evade"

    squeezers: tuple[Squeezer, ...] = PUBLISHED
    thresholds: tuple[float | None, ...] = ()
    weights: tuple[float, ...] = ()
    slack: float = 0.75

    def __post_init__(self) -> None:
        object.__setattr__(self, "squeezers", checked(self.squeezers))
        count = len(self.squeezers)
        for name, default, most in (("thresholds", None, 2.0), ("weights", 1.0, math.inf)):
            given = getattr(self, name)
            values = tuple(value if value is default else float(value) for value in given) or (default,) * count
            if len(values) != count:
                raise InputError(f"{name} has {len(values)} values for {count} squeezers; expected one per squeezer.")
            for value in values:
                if value is not None and not 0 <= value <= most:
                    most_text = "" if math.isinf(most) else f" and at most {most:g}, the largest L1 distance"
                    raise InputError(f"{name} holds {value}; expected at least 0{most_text}.")
            object.__setattr__(self, name, (0.0,) * count if values == (None,) * count else values)
        if not 0 <= self.slack <= 1:
            raise InputError(f"slack is {self.slack}; expected a share in [0, 1].")

    def __call__(self, point: Point) -> Tensor:
        return torch.stack(
            [
                weight * (shift(point, each) - self.slack * (threshold or 0.0)).clamp_min(0)
                for each, threshold, weight in zip(self.squeezers, self.thresholds, self.weights, strict=True)
            ]
        ).sum(0)

    def evades(self, point: Point) -> Tensor:
        pairs = list(zip(self.squeezers, self.thresholds, strict=True))
        below = [shift(point, each) <= threshold for each, threshold in pairs if threshold is not None]
        return torch.stack(below).all(0)

    @property
    def steps_alike(self) -> bool:
        return all(each.on_device for each in self.squeezers)
