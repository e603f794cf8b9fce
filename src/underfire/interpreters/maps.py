"""Operations on attribution maps that several interpreters share."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.numerics import is_class, of_class


def min_max(maps: Tensor) -> Tensor:
    """Scale each map N x h x w to [0, 1]; a constant map becomes 0 everywhere. Differentiable."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-8)


def pooled_map(attribution: Tensor, pool: int | None = None) -> Tensor:
    """Make maps N x h x w of attributions N x C x H x W.

    Takes the largest absolute value over the channels, averages over windows, and scales each map to [0, 1].

    Args:
        pool: side of the window in pixels. If None: 4 for images of at least 128 pixels, 2 from 32 on, else 1.
    """
    side = min(attribution.shape[2:])
    window = pool or (4 if side >= 128 else 2 if side >= 32 else 1)
    strength = attribution.abs().amax(1, keepdim=True)
    return min_max(torch.nn.functional.avg_pool2d(strength, window, ceil_mode=True).squeeze(1))


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Compute log(p_c / (1 - p_c)) for each image's class c: z_c - logsumexp of the remaining logits.

    Its gradient is that of the cross-entropy up to a factor per image, but it does not underflow if the classifier is
    certain.

    Args:
        logits: z, N x K.
        classes: int64 N.

    Returns:
        The log-odds, N.
    """
    others = logits.masked_fill(is_class(classes, logits.shape[1]), -torch.inf).logsumexp(1)
    return of_class(logits, classes) - others
