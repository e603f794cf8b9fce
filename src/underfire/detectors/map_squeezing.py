"""Prediction and map under squeezers together: both of an attacked image move when detail is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from underfire import metrics
from underfire.detectors.contract import Detector, State
from underfire.detectors.map_reading import predicted
from underfire.detectors.split import Split
from underfire.detectors.squeezing import Squeezing
from underfire.detectors.standard import scale_of, standardised
from underfire.system import System
from underfire.transforms.squeezers import squeezers

DEFAULT = ("bit-depth:3", "median:2")


@dataclass(frozen=True)
class MapSqueezing(Detector):
    """The change of the prediction and the change of the map when detail is removed from the image.

    For each squeezer s, there are the L1 distance |p(x) - p(s(x))| of the class probabilities, as in feature squeezing,
    and for each interpreter the mean absolute difference of the maps of x and s(x), both for the class predicted for x.
    Each is counted in benign standard deviations above the benign mean. For one squeezer, the score is the mean of the
    prediction's value and the maps' mean value; the largest of the squeezers' scores counts.

    Args:
        squeezers: the squeezers, such as ``("bit-depth:3", "median:2")``. Each takes one more image's time.
    """

    squeezers: tuple[str, ...] = DEFAULT
    name: ClassVar[str] = "map-squeezing"
    least_interpreters: ClassVar[int] = 1
    most_interpreters: ClassVar[int | None] = None
    learns: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "squeezers", Squeezing(self.squeezers).squeezers)

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Make the detector from squeezers joined by ``+``, such as ``bit-depth:3+median:2``."""
        return cls(tuple(argument.split("+")))

    @property
    def title(self) -> str:
        return f"{self.name} {' + '.join(self.squeezers)}"

    def learn(self, system: System, benign: Split, attacked: Split | None) -> State:
        return scale_of(self.changes(system, benign.images).flatten(1), "change")

    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        changes = self.changes(system, images)
        values = standardised(changes.flatten(1), state, "change").view_as(changes)
        return ((values[:, :, 0] + values[:, :, 1:].mean(2)) / 2).amax(1)

    def changes(self, system: System, images: Tensor) -> Tensor:
        """Compute the changes: float64 N x squeezers x (1 + interpreters), the prediction's first."""
        classes = predicted(system, images)
        before = system.maps(images, classes)
        shifts = Squeezing(self.squeezers).distances(system, images)
        found = []
        for place, squeeze in enumerate(squeezers(self.squeezers)):
            after = system.maps(squeeze(images).clamp(0, 1), classes)
            moved = [metrics.map_l1(before[name].double(), after[name].double()) for name in before]
            found.append(torch.stack([shifts[:, place].to(moved[0]), *moved], 1))
        return torch.stack(found, 1)
