"""Target maps that the user gives, in a file or as values."""

from __future__ import annotations

import hashlib
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.target_maps.base import MapRule
from underfire.attacks.target_maps.reading import from_values, read_file
from underfire.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class GivenMap(MapRule):
    """The same map for every image, or one map per image, resized to the maps of each interpreter.

    Args:
        given: an image file, whose brightness counts; a .npy file with an array h x w in [0, 1]; or a tensor or array
            h x w (one map for all images) or N x h x w (one per image) in [0, 1]. A file is read once, here.

    Attributes:
        file: the file, if it was one.
        values: the maps, float32 1 x h x w or N x h x w.
        sha256: the hash of the values; two rules with the same hash are equal.

    Raises:
        InputError: ``given`` holds no map.
    """

    name: ClassVar[str] = "given"

    given: InitVar[str | Path | Tensor | NDArray[Any]]
    file: str | None = field(init=False, compare=False)
    values: Tensor = field(init=False, repr=False, compare=False)
    sha256: str = field(init=False)

    def __post_init__(self, given: str | Path | Tensor | NDArray[Any]) -> None:
        named = isinstance(given, str | Path)
        values = read_file(given) if isinstance(given, str | Path) else from_values(given)
        content = repr(tuple(values.shape)).encode() + values.numpy().tobytes()
        object.__setattr__(self, "file", str(given) if named else None)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "sha256", hashlib.sha256(content).hexdigest())

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        count = len(benign.ids)
        if len(self.values) not in (1, count):
            colours = (
                " Are they the channels of one picture? Then give their mean." if len(self.values) in (3, 4) else ""
            )
            raise InputError(
                f"target_map has {len(self.values)} maps for {count} images; expected one map h x w for all of them, "
                f"or one per image.{colours}"
            )
        found = {}
        for name, maps in benign.maps.items():
            resized = F.interpolate(
                self.values.unsqueeze(1), maps.shape[1:], mode="bilinear", align_corners=False, antialias=True
            )
            found[name] = resized.squeeze(1).clamp(0, 1).to(maps).expand(count, -1, -1).contiguous()
        return found
