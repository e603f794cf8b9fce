"""Stability of maps: small noise moves the map of an attacked image more than that of a benign one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from underfire import metrics, randomness
from underfire.arguments import check_between, whole_number
from underfire.attacks.perturbations import eps_text, parse_eps
from underfire.detectors.contract import Detector, State
from underfire.detectors.map_reading import predicted
from underfire.detectors.split import Split
from underfire.detectors.standard import scale_of, standardised
from underfire.system import System


@dataclass(frozen=True)
class MapStability(Detector):
    """The change of the map (mean absolute difference) when the image gets small uniform noise.

    The class stays the one that is predicted without noise. The score is the mean over interpreters, each in benign
    standard deviations above the benign mean. It needs two images' time per draw and interpreter.

    Args:
        noise: the size of the noise in pixel units.
        draws: the number of noise draws of each image.
        seed: of the noise. An image's noise depends on its pixels, and on no other image.
    """

    noise: float = 2 / 255
    draws: int = 2
    seed: int = 0
    name: ClassVar[str] = "map-stability"
    least_interpreters: ClassVar[int] = 1
    most_interpreters: ClassVar[int | None] = None
    learns: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("seed", None)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        check_between("noise", self.noise, 0, 1, "a size in pixel units between 0 and 1, such as 2/255")

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        return cls(noise=parse_eps(argument, "the noise of map-stability"))

    @property
    def title(self) -> str:
        """The name, with the noise and the number of draws unless they are the default."""
        noise = f" {eps_text(self.noise)}" if self.noise != type(self).noise else ""
        draws = f" draws={self.draws}" if self.draws != type(self).draws else ""
        return f"{self.name}{noise}{draws}"

    def learn(self, system: System, benign: Split, attacked: Split | None) -> State:
        return scale_of(self.changes(system, benign.images), "change")

    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        return standardised(self.changes(system, images), state, "change").mean(1)

    def changes(self, system: System, images: Tensor) -> Tensor:
        """Compute the mean change of each interpreter's map over all noise draws: float64 N x interpreters."""
        classes, ids = predicted(system, images), randomness.identify(images)
        before = system.maps(images, classes, ids)
        total = torch.zeros(len(images), len(before), dtype=torch.float64, device=images.device)
        for draw in range(self.draws):
            drawn = randomness.uniform(self.seed, ids, "map-stability", draw, images.shape[1:])
            noisy = (images + (2 * drawn - 1) * self.noise).clamp(0, 1)
            after = system.maps(noisy, classes, ids)
            moved = [metrics.map_l1(before[name].double(), after[name].double()) for name in before]
            total += torch.stack(moved, 1) / self.draws
        return total
