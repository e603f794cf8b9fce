"""The median filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.arguments import check_choice
from underfire.transforms.squeezers.arguments import whole
from underfire.transforms.squeezers.base import Squeezer


@dataclass(frozen=True)
class Median(Squeezer):
    """Replace each value by the median of its neighbourhood in its channel (Xu et al. 2018, section III.B).

    The conventions are those of ``scipy.ndimage.median_filter(size=side, mode="reflect")``: a window of side 2 holds
    the pixel and its neighbours above and to the left, and of 4 values the third is taken. Values at the border are
    repeated.

    The gradient goes to the pixel whose value is the median. Where several pixels of a window have this value, it goes
    to one of them. Text form: ``median:2``.

    Args:
        side: the side of the window in pixels, 2 or 3.
    """

    name: ClassVar[str] = "median"
    has_gradient: ClassVar[bool] = True
    on_device: ClassVar[bool] = True

    side: int = 2

    def __post_init__(self) -> None:
        check_choice("side", self.side, (2, 3))

    @property
    def label(self) -> str:
        return f"{self.name}:{self.side}"

    @classmethod
    def from_argument(cls, argument: str) -> Median:
        return cls(whole(argument, f"{cls.name}:{argument}", "median:3"))

    def squeeze(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        before, after = self.side // 2, (self.side - 1) // 2
        padded = F.pad(images, (before, after, before, after), mode="replicate")
        shifted = [
            padded[..., row : row + height, column : column + width]
            for row in range(self.side)
            for column in range(self.side)
        ]
        return torch.stack(shifted, -1).kthvalue(self.side**2 // 2 + 1, -1).values
