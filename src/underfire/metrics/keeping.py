"""The most important pixels of a map, for tests that keep or delete them."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.errors import InputError


def most_important(maps: Tensor, share: float) -> Tensor:
    """Mark the cells of each map with the largest values.

    Cells with equal values are common in saturated maps. Among them, cells are picked in a random order, the same for
    every map, so that no side of the image is preferred.

    Args:
        maps: N x H x W.
        share: the share of cells to mark, in [0, 1], rounded to whole cells.

    Returns:
        bool N x H x W, with exactly this share of each map marked.

    Raises:
        InputError: maps of another shape, or a share outside [0, 1].
    """
    if maps.ndim != 3 or not 0 <= share <= 1:
        raise InputError(f"maps have shape {tuple(maps.shape)} and share is {share}; expected N x H x W, and [0, 1].")
    values = maps.detach().flatten(1)
    count = round(share * values.shape[1])
    order = torch.randperm(values.shape[1], generator=torch.Generator().manual_seed(0)).to(maps.device)
    ranked = order[values[:, order].argsort(dim=1, descending=True, stable=True)]
    chosen = torch.zeros_like(values, dtype=torch.bool).scatter_(1, ranked[:, :count], True)
    return chosen.view_as(maps)
