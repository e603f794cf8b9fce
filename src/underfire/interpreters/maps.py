"""Small operations on attribution maps that several interpreters share."""

from __future__ import annotations

import torch
from torch import Tensor


def min_max(maps: Tensor) -> Tensor:
    """Scale each map N x h x w to [0, 1]; a constant map becomes 0 everywhere. Differentiable."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-8)


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """log(p_c / (1 - p_c)) of each row's class: z_c - logsumexp over the other classes. N.

    Its gradient is that of the cross-entropy up to a positive factor per image, which does not underflow where the
    classifier is certain.
    """
    chosen = torch.nn.functional.one_hot(classes, logits.shape[1]).bool()
    others = logits.masked_fill(chosen, -torch.inf).logsumexp(1)
    return logits.gather(1, classes.unsqueeze(1)).squeeze(1) - others
