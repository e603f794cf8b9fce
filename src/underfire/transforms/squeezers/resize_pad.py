"""Random resizing and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.errors import InputError
from underfire.transforms.squeezers.arguments import whole
from underfire.transforms.squeezers.base import Squeezer
from underfire.transforms.warp import warp


@dataclass(frozen=True)
class ResizePad(Squeezer):
    """Shrink each image by a random amount, and put it at a random place on a black image (Xie et al. 2018).

    Xie et al. enlarge the frame from 299 to 331 pixels. Here the image keeps its size and shrinks inside it, to between
    90 % (299 / 331) and 100 % of its height. Resizing is bilinear, with the pixel positions of
    ``torch.nn.functional.interpolate(align_corners=False)``.

    Size and place are drawn from a hash of the image's own 8-bit pixels: the same image is always squeezed alike, in
    any batch, and every step of an attack meets another draw. The gradient is that of the drawn resizing. Text form:
    ``resize-pad``, or ``resize-pad:80`` for at least 80 % of the height.

    Args:
        percent: the smallest height in percent of the image's, 50 to 100.
        seed: of the random numbers.
    """

    name: ClassVar[str] = "resize-pad"
    has_gradient: ClassVar[bool] = True

    percent: int = 90
    seed: int = 0

    def __post_init__(self) -> None:
        if self.percent not in range(50, 101):
            raise InputError(f"percent is {self.percent}; expected 50 to 100.")

    @property
    def label(self) -> str:
        return self.name if self.percent == 90 else f"{self.name}:{self.percent}"

    @classmethod
    def from_argument(cls, argument: str) -> ResizePad:
        return cls(whole(argument, f"{cls.name}:{argument}", "resize-pad:80"))

    def squeeze(self, images: Tensor) -> Tensor:
        (top, left), (tall, wide) = self.draws(images)
        down, inside_down = _source(top, tall, images.shape[2], images)
        right, inside_right = _source(left, wide, images.shape[3], images)
        height, width = images.shape[2:]
        flow = images.new_empty(len(images), 2, height, width)
        flow[:, 0], flow[:, 1] = down.unsqueeze(2), right.unsqueeze(1)
        inside = inside_down.view(-1, 1, height, 1) & inside_right.view(-1, 1, 1, width)
        return torch.where(inside, warp(images, flow), images.new_zeros(()))

    def draws(self, images: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Draw the place (top, left) and the size (height, width) of each shrunk image in pixels, int64 N each."""
        height, width = images.shape[2:]
        ids = randomness.identify(images)
        shrunk = randomness.integers(
            self.seed, ids, "resize-pad size", 0, (1,), height - -(-height * self.percent // 100) + 1
        )
        tall = height - shrunk[:, 0]
        wide = (tall * width + height // 2) // height
        top = randomness.integers(self.seed, ids, "resize-pad top", 0, (1,), height - tall + 1)[:, 0]
        left = randomness.integers(self.seed, ids, "resize-pad left", 0, (1,), width - wide + 1)[:, 0]
        return (top, left), (tall, wide)


def _source(first: Tensor, size: Tensor, full: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Compute where each row (or column) of the result comes from.

    Args:
        first: the first row of the shrunk image, N.
        size: its number of rows, N.
        full: the number of rows of the image.
        like: a tensor with the wanted dtype and device.

    Returns:
        The flow of each row in pixels, N x ``full``, and True for rows of the shrunk image, bool N x ``full``.
    """
    rows = torch.arange(full, device=like.device)
    offset = rows - first.unsqueeze(1)
    inside = (offset >= 0) & (offset < size.unsqueeze(1))
    scale = full / size.unsqueeze(1).to(like.dtype)
    return ((offset.to(like.dtype) + 0.5) * scale - 0.5 - rows).where(inside, like.new_zeros(())), inside
