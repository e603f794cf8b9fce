"""Disagreement between interpreters: maps of attacked images agree less than those of benign images. No learning."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from underfire import metrics
from underfire.detectors.contract import Detector, State
from underfire.detectors.map_reading import common_size, on_grid, read_maps
from underfire.detectors.split import Split
from underfire.detectors.standard import scale_of, standardised
from underfire.system import System


@dataclass(frozen=True)
class MapAgreement(Detector):
    """The rank correlation between the maps of each two interpreters, against its distribution on benign images.

    The score is the largest drop of any pair below its benign mean, in benign standard deviations. An attack that fools
    one interpreter leaves the other interpreters' maps where they were; one that fools all of them may leave no trace
    here.
    """

    name: ClassVar[str] = "map-agreement"
    least_interpreters: ClassVar[int] = 2
    most_interpreters: ClassVar[int | None] = None
    learns: ClassVar[bool] = True

    def learn(self, system: System, benign: Split, attacked: Split | None) -> State:
        return scale_of(-correlations(read_maps(system, benign.images)), "drop")

    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        return standardised(-correlations(read_maps(system, images)), state, "drop").amax(1)


def correlations(maps: dict[str, Tensor]) -> Tensor:
    """Compute the rank correlations of all pairs of interpreters on their common grid: float64 N x pairs."""
    size = common_size(maps)
    grids = [on_grid(each, *size) for each in maps.values()]
    return torch.stack([metrics.map_spearman(a, b).double() for a, b in combinations(grids, 2)], 1)
