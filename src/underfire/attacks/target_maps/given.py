"""A map in a file as the wanted map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.target_maps.base import MapRule
from underfire.errors import InputError


@dataclass(frozen=True)
class GivenMap(MapRule):
    """The map in a file for every image: an image whose brightness counts, or a .npy array, h x w in [0, 1].

    It is resized to each interpreter's maps.
    """

    name: ClassVar[str] = "given"

    file: str

    def maps(self, benign: Benign, classes: Tensor, seed: int) -> dict[str, Tensor]:
        given = self.read()
        found = {}
        for name, maps in benign.maps.items():
            resized = F.interpolate(
                given[None, None], maps.shape[1:], mode="bilinear", align_corners=False, antialias=True
            )
            found[name] = resized[0].clamp(0, 1).to(maps).expand(len(maps), -1, -1).contiguous()
        return found

    def read(self) -> Tensor:
        """float32 h x w in [0, 1]. Raises InputError where the file holds no map."""
        import numpy as np
        from PIL import Image

        path = Path(self.file).expanduser()
        try:
            if path.suffix == ".npy":
                values = torch.from_numpy(np.load(path)).float()
            else:
                with Image.open(path) as image:
                    values = torch.from_numpy(np.array(image.convert("L"))).float() / 255
        except (OSError, ValueError) as error:
            raise InputError(
                f"target_map is {self.file!r}, which cannot be read as an image or a .npy array: {error}"
            ) from error
        if values.ndim != 2 or not values.numel():
            raise InputError(f"target_map {self.file!r} has shape {tuple(values.shape)}; expected height x width.")
        if not bool(torch.isfinite(values).all()) or float(values.min()) < 0 or float(values.max()) > 1:
            raise InputError(
                f"target_map {self.file!r} ranges over [{float(values.min()):.3g}, {float(values.max()):.3g}]; maps "
                "are in [0, 1], where 1 is most important."
            )
        return values
