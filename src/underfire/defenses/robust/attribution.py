"""Integrated gradients of the loss between two images, as IG-NORM and IG-SUM-NORM penalise them (Chen et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Losses = Callable[[Tensor, Tensor], Tensor]
"""Computes the loss of each image, N, of images N x C x H x W and labels N."""


def integrated(losses: Losses, clean: Tensor, attacked: Tensor, labels: Tensor, segments: int) -> Tensor:
    """Compute the integrated gradients of the loss on the straight line from clean to attacked images.

    IG(x, x') = (x' - x) * 1/m sum_{k=1..m} grad l(x + k/m (x' - x), y). With many segments the entries of an image sum
    to l(x', y) - l(x, y) (completeness).

    Args:
        losses: l; the loss of an image may depend on this image only.
        clean, attacked: x and x', N x C x H x W.
        labels: y, int64 N.
        segments: m, the number of gradients.

    Returns:
        N x C x H x W, differentiable in the network's parameters and in ``attacked``. In a network of ReLUs the second
        derivatives of the logits are zero almost everywhere, and those of the loss are not: the softmax bends it.
    """
    change = attacked - clean
    shares = torch.arange(1, segments + 1, dtype=clean.dtype, device=clean.device) / segments
    points = (clean[:, None] + shares.view(1, -1, 1, 1, 1) * change[:, None]).flatten(0, 1)
    if not points.requires_grad:
        points.requires_grad_()
    total = losses(points, labels.repeat_interleave(segments)).sum()
    (gradient,) = torch.autograd.grad(total, points, create_graph=True)
    mean: Tensor = gradient.unflatten(0, (len(clean), segments)).mean(1)
    return change * mean


def attribution_norms(losses: Losses, clean: Tensor, attacked: Tensor, labels: Tensor, segments: int) -> Tensor:
    """Compute the L1 norm of each image's integrated gradients, N; see ``integrated``."""
    return integrated(losses, clean, attacked, labels, segments).abs().flatten(1).sum(1)
