"""Which pixels a map finds most important: what is kept, or taken away, to see whether the map is right."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.errors import InputError


def most_important(maps: Tensor, share: float) -> Tensor:
    """bool N x H x W: exactly the ``share`` of each map's cells with the largest values, rounded to whole cells.

    Among equal values, which are common where maps saturate, cells are picked in an order that is random and the same
    for every map, so that no side of the image is preferred.

    Args:
        maps: N x H x W.
        share: in [0, 1].
    """
    if maps.ndim != 3 or not 0 <= share <= 1:
        raise InputError(f"maps have shape {tuple(maps.shape)} and share is {share}; expected N x H x W, and [0, 1].")
    values = maps.detach().flatten(1)
    count = round(share * values.shape[1])
    order = torch.randperm(values.shape[1], generator=torch.Generator().manual_seed(0)).to(maps.device)
    ranked = order[values[:, order].argsort(dim=1, descending=True, stable=True)]
    chosen = torch.zeros_like(values, dtype=torch.bool).scatter_(1, ranked[:, :count], True)
    return chosen.view_as(maps)
