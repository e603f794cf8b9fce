"""Small operations on attribution maps that several interpreters share."""

from __future__ import annotations

import torch
from torch import Tensor


def min_max(maps: Tensor) -> Tensor:
    """Scale each map N x h x w to [0, 1]; a constant map becomes 0 everywhere. Differentiable."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-8)


def pooled_map(attribution: Tensor, pool: int | None = None) -> Tensor:
    """|attribution| N x C x H x W: the largest over channels, average-pooled, min-max per image. N x h x w.

    ``pool`` is the window's side in pixels; where None, 4 for images of at least 128 pixels, 2 from 32, else 1.
    """
    side = min(attribution.shape[2:])
    window = pool or (4 if side >= 128 else 2 if side >= 32 else 1)
    strength = attribution.abs().amax(1, keepdim=True)
    return min_max(torch.nn.functional.avg_pool2d(strength, window, ceil_mode=True).squeeze(1))


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """log(p_c / (1 - p_c)) of each row's class: z_c - logsumexp over the other classes. N.

    Its gradient is that of the cross-entropy up to a positive factor per image, which does not underflow where the
    classifier is certain.
    """
    chosen = torch.nn.functional.one_hot(classes, logits.shape[1]).bool()
    others = logits.masked_fill(chosen, -torch.inf).logsumexp(1)
    return logits.gather(1, classes.unsqueeze(1)).squeeze(1) - others
