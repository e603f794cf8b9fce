"""Reading maps for a detector: for the class that the classifier predicts, since nobody knows the true one."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from underfire.system import System


def predicted(system: System, images: Tensor) -> Tensor:
    """Return the predicted classes, int64 N."""
    return system.classifier.logits(images).argmax(1)


def read_maps(system: System, images: Tensor) -> dict[str, Tensor]:
    """Read the maps N x h x w of every interpreter for the predicted classes; see ``System.maps``."""
    return system.maps(images, predicted(system, images))


def on_grid(maps: Tensor, height: int, width: int) -> Tensor:
    """Bring maps N x h x w to another size: cells are averaged, or interpolated if the size is larger. Float64."""
    grid = maps.double().unsqueeze(1)
    if height <= maps.shape[1] and width <= maps.shape[2]:
        return F.adaptive_avg_pool2d(grid, (height, width))[:, 0].clamp(0, 1)
    return F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)[:, 0].clamp(0, 1)


def common_size(maps: dict[str, Tensor]) -> tuple[int, int]:
    """Return the smallest height and width among the maps of several interpreters."""
    return min(each.shape[1] for each in maps.values()), min(each.shape[2] for each in maps.values())
