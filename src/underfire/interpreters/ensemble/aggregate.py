"""Aggregation of maps of several interpreters: mean, rank mean and median."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

THRESHOLDS = 64
"""The number of places in [0, 1] at which ``smooth_ranks`` knows the share of cells below."""
WIDTH = 0.02
"""The width of the sigmoid in ``smooth_ranks``: map values nearer to each other share their order."""


def on_one_grid(maps: Sequence[Tensor]) -> Tensor:
    """Resize maps of several interpreters to the largest height and width among them, bilinearly.

    Args:
        maps: P maps N x h x w in [0, 1], of any sizes.

    Returns:
        P x N x H x W in [0, 1]; differentiable.
    """
    size = [max(part.shape[axis] for part in maps) for axis in (1, 2)]
    return torch.stack(
        [
            part
            if [*part.shape[1:]] == size
            else F.interpolate(part.unsqueeze(1), size, mode="bilinear", align_corners=False).squeeze(1)
            for part in maps
        ]
    )


def ranks(maps: Tensor) -> Tensor:
    """Rank the cells of each map ... x h x w: 0 for the lowest and 1 for the highest; ties share their mean rank.

    A constant map becomes 1/2 everywhere. Without a gradient: ranks change in steps.
    """
    cells = maps.detach().flatten(-2)
    ordered = cells.sort(-1).values
    below = torch.searchsorted(ordered, cells.contiguous(), right=False)
    upto = torch.searchsorted(ordered, cells.contiguous(), right=True)
    found = (below + upto - 1).to(maps.dtype) / 2 / max(1, cells.shape[-1] - 1)
    return (found if cells.shape[-1] > 1 else torch.full_like(cells, 0.5)).view_as(maps)


def smooth_ranks(maps: Tensor) -> Tensor:
    """Compute ranks that are differentiable: the smoothed share of cells below each cell.

    The share of cells below a threshold t is the mean over cells v of sigmoid((t - v) / ``WIDTH``). It is computed at
    ``THRESHOLDS`` places, and interpolated between them in straight lines.

    Args:
        maps: ... x h x w in [0, 1].

    Returns:
        Ranks of the same shape, in (0, 1).
    """
    cells = maps.flatten(-2)
    places = torch.linspace(0, 1, THRESHOLDS, dtype=maps.dtype, device=maps.device)
    below = torch.stack([torch.sigmoid((place - cells) / WIDTH).mean(-1) for place in places], -1)
    position = cells.clamp(0, 1) * (THRESHOLDS - 1)
    lower = position.detach().floor().clamp(max=THRESHOLDS - 2)
    share, index = position - lower, lower.long()
    return (below.gather(-1, index) * (1 - share) + below.gather(-1, index + 1) * share).view_as(maps)


class _Straight(torch.autograd.Function):
    """The first value, with the gradient of the second: the first is exact to the last bit."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, smooth: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[None, Tensor]:
        return None, outer


def straight(exact: Tensor, smooth: Tensor) -> Tensor:
    """Return ``exact``, to the last bit, with the gradient of ``smooth``: a straight-through estimate."""
    result: Tensor = _Straight.apply(exact, smooth)
    return result


def mean(maps: Tensor) -> Tensor:
    """Average maps P x N x h x w over the P interpreters. Differentiable."""
    return maps.mean(0)


def rank_mean(maps: Tensor) -> Tensor:
    """Average the ranks of the cells over the P interpreters, so that no interpreter's scale counts.

    The values are those of ``ranks``. Their gradient is that of ``smooth_ranks`` (straight-through).

    Args:
        maps: P x N x h x w in [0, 1].
    """
    if not (maps.requires_grad and torch.is_grad_enabled()):
        return ranks(maps).mean(0)
    return straight(ranks(maps), smooth_ranks(maps)).mean(0)


def median(maps: Tensor) -> Tensor:
    """Take the median over the P interpreters in each cell; the mean of the two middle values if P is even.

    Its gradient, that of the middle values, is exact almost everywhere.

    Args:
        maps: P x N x h x w in [0, 1].
    """
    ordered, count = maps.sort(0).values, len(maps)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


AGGREGATES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"mean": mean, "rank": rank_mean, "median": median}
)
"""The ways to aggregate maps P x N x h x w to N x h x w, by name."""
