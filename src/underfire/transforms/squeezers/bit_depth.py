"""Reduction of the bit depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.errors import InputError
from underfire.transforms.squeezers.arguments import whole
from underfire.transforms.squeezers.base import Squeezer


@dataclass(frozen=True)
class BitDepth(Squeezer):
    """Round each value to one of 2^b levels: round(x * (2^b - 1)) / (2^b - 1) (Xu et al. 2018, section III.A).

    A half is rounded to the even level, as numpy does. Text form: ``bit-depth:3``. Attacks pass it straight-through.

    Args:
        bits: the number b of bits per value, 1 to 7; 8 would leave images as they are.
    """

    name: ClassVar[str] = "bit-depth"
    on_device: ClassVar[bool] = True

    bits: int = 3

    def __post_init__(self) -> None:
        if self.bits not in range(1, 8):
            raise InputError(f"squeezer bit-depth: bits is {self.bits}; expected 1 to 7, as in bit-depth:3.")

    @property
    def label(self) -> str:
        return f"{self.name}:{self.bits}"

    @classmethod
    def from_argument(cls, argument: str) -> BitDepth:
        return cls(whole(argument, f"{cls.name}:{argument}", "bit-depth:3"))

    @property
    def levels(self) -> int:
        """The index of the highest level, 2^b - 1: levels are 0, 1 / levels, ..., 1."""
        return int(2**self.bits - 1)

    def squeeze(self, images: Tensor) -> Tensor:
        return (images * self.levels).round() / self.levels
