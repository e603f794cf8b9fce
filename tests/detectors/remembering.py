"""A detector that remembers the images it has learnt from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.detectors import Detector, Split, State
from underfire.system import System


@dataclass(frozen=True)
class Remembering(Detector):
    """1 for an image that it has learnt from, and 0 for another one; or the number of images, with ``count``."""

    count: bool = False
    name: ClassVar[str] = "remembering"
    learns: ClassVar[bool] = True
    needs_attacked: ClassVar[bool] = True
    most_interpreters: ClassVar[int | None] = None

    def learn(self, system: System, benign: Split, attacked: Split | None) -> State:
        assert attacked is not None
        return {"seen": randomness.identify(torch.cat([benign.images, attacked.images]))}

    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        if self.count:
            return torch.full((len(images),), float(len(state["seen"])))
        return torch.isin(randomness.identify(images), state["seen"]).double()
