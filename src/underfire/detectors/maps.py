"""The detector of [EDGE] tables V and VI: features of the maps of several interpreters, and gradient boosting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from underfire.arguments import check_choice, whole_number
from underfire.detectors.contract import Detector, State
from underfire.detectors.map_features import POOLED, extracted, extractor_of
from underfire.detectors.map_reading import on_grid, read_maps
from underfire.detectors.split import Split
from underfire.detectors.trees import grow, log_odds
from underfire.errors import InputError
from underfire.system import System


@dataclass(frozen=True)
class Maps(Detector):
    """Maps of two or more interpreters, stacked as channels; their features go into gradient boosting ([EDGE] VI).

    The papers take features of a VGG-16; the default here needs no download. The score is the log-odds of the trees.

    Args:
        product: add the product of the two maps as a third channel.
        features: ``pooled``, or ``file.py:function`` for a function from channels N x K x G x G to features N x F.
        grid: the height and width G that all maps are brought to.
        trees: the number of trees.
        depth: the largest depth of a tree.
        seed: of the trees.
    """

    product: bool = False
    features: str = POOLED
    grid: int = 16
    trees: int = 200
    depth: int = 3
    seed: int = 0
    name: ClassVar[str] = "maps"
    least_interpreters: ClassVar[int] = 2
    most_interpreters: ClassVar[int | None] = None
    learns: ClassVar[bool] = True
    needs_attacked: ClassVar[bool] = True

    RATE: ClassVar[float] = 0.1

    def __post_init__(self) -> None:
        for name, least in (("grid", 1), ("trees", 1), ("depth", 1), ("seed", None)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        check_choice("product", self.product, (False, True))
        extractor_of(self.features)

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Make the detector with a product, from ``maps:product``."""
        if argument != "product":
            raise InputError(f"detector is {f'maps:{argument}'!r}; expected maps, or maps:product.")
        return cls(product=True)

    @property
    def title(self) -> str:
        return f"{self.name} with product" if self.product else self.name

    def learn(self, system: System, benign: Split, attacked: Split | None) -> State:
        assert attacked is not None
        if self.product and len(system.interpreters) != 2:
            raise InputError(
                f"product is True, and the system has {len(system.interpreters)} interpreters; expected 2: the product "
                "of two maps is the third channel."
            )
        values = torch.cat([self._features(system, each.images) for each in (benign, attacked)])
        labels = torch.arange(len(values), device="cpu") >= len(benign)
        return grow(values, labels, self.trees, self.depth, self.RATE, self.seed)

    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        return log_odds(state, self._features(system, images))

    def _features(self, system: System, images: Tensor) -> Tensor:
        grids = [on_grid(each, self.grid, self.grid) for each in read_maps(system, images).values()]
        if self.product:
            grids.append(grids[0] * grids[1])
        return extracted(self.features, torch.stack(grids, 1))
