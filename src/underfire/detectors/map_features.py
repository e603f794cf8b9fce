"""Features of maps that need no downloaded weights: averages at several scales, and simple statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire import metrics, user_files
from underfire.errors import InputError, UserCodeError
from underfire.user_parts import guarded, shape_of

POOLED = "pooled"
SCALES = (8, 4, 2)
"""The numbers of cells a side to which maps are averaged."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)

Extractor = Callable[[Tensor], Tensor]
"""A function from channels, float64 N x K x G x G in [0, 1], to features N x F."""


def pooled(channels: Tensor) -> Tensor:
    """Compute features of N x K channels, float64 N x F.

    For each channel: the averages of 8 x 8, 4 x 4 and 2 x 2 cells; mean, standard deviation, maximum and quantiles; the
    area that holds half of the mass and the spread of the mass; the mean absolute difference of neighbouring cells.
    """
    count, _, height, width = channels.shape
    parts = [F.adaptive_avg_pool2d(channels, min(side, height, width)).flatten(1) for side in SCALES]
    for channel in channels.unbind(1):
        cells = channel.flatten(1)
        quantiles = torch.quantile(cells, torch.tensor(QUANTILES, dtype=cells.dtype, device=cells.device), dim=1)
        rough = [channel.diff(dim=axis).abs().flatten(1).mean(1) for axis in (1, 2)]
        statistics = [cells.mean(1), cells.std(1, correction=0), cells.amax(1), *quantiles, *rough]
        scattered = [metrics.half_mass_area(channel), metrics.mass_spread(channel)]
        parts.append(torch.stack([each.to(cells) for each in (*statistics, *scattered)], 1))
    return torch.cat(parts, 1).view(count, -1)


def extractor_of(name: str) -> Extractor:
    """Return the function that extracts features: ``pooled``, or the user's own as ``file.py:function``.

    Raises:
        InputError: the name is unknown.
        UserCodeError: the user's file raises an error.
    """
    if name == POOLED:
        return pooled
    own = user_files.split(name) if isinstance(name, str) else None
    if own is None:
        raise InputError(f"features is {name!r}; expected {POOLED!r}, or file.py:function for a function of your own.")
    found: Extractor = user_files.load(*own, "features")
    return guarded(found, "features", name)


def extracted(name: str, channels: Tensor) -> Tensor:
    """Extract features and check them: float64 N x F on the CPU, finite. Errors as in ``extractor_of``."""
    found: Any = extractor_of(name)(channels)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(channels):
        raise UserCodeError(f"features {name!r} gives {shape_of(found)}; expected one row of numbers per image.")
    values = found.detach().cpu().double()
    if not bool(torch.isfinite(values).all()):
        raise UserCodeError(f"features {name!r} gives NaN or infinite numbers; expected finite ones.")
    return values
