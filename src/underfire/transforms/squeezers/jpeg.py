"""Compression as JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from underfire.errors import InputError
from underfire.transforms.squeezers.arguments import whole
from underfire.transforms.squeezers.base import Squeezer


@dataclass(frozen=True)
class JPEG(Squeezer):
    """Save each image as JPEG and load it again (Dziugaite et al. 2016; Guo et al. 2018), with Pillow.

    Images of three channels are saved in colour. Of any other number of channels, each is saved as a grey image of its
    own. Values are rounded to 8 bits first. Text form: ``jpeg:75``. Attacks use the gradient of the identity (BPDA).

    Args:
        quality: the quality on Pillow's scale, 1 (worst) to 95.
    """

    name: ClassVar[str] = "jpeg"

    quality: int = 75

    def __post_init__(self) -> None:
        if self.quality not in range(1, 96):
            raise InputError(f"quality is {self.quality}; expected 1 to 95.")

    @property
    def label(self) -> str:
        return f"{self.name}:{self.quality}"

    @classmethod
    def from_argument(cls, argument: str) -> JPEG:
        return cls(whole(argument, f"{cls.name}:{argument}", "jpeg:75"))

    def squeeze(self, images: Tensor) -> Tensor:
        levels = (images * 255).round().to(torch.uint8).cpu()
        loaded = torch.empty_like(levels)
        for place, image in enumerate(levels):
            if len(image) == 3:
                loaded[place] = torch.from_numpy(self._again(image.movedim(0, -1).numpy())).movedim(-1, 0)
                continue
            for channel, values in enumerate(image):
                loaded[place, channel] = torch.from_numpy(self._again(values.numpy()))
        return loaded.to(images.device, images.dtype) / 255

    def _again(self, levels: np.ndarray) -> np.ndarray:
        """Save and load one image of 8-bit levels, H x W or H x W x 3."""
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(levels)).save(file, format="jpeg", quality=self.quality)
        return np.array(Image.open(file))
