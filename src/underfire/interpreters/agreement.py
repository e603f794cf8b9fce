"""Whether a function's gradient is its derivative: a comparison with finite differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DIRECTIONS = 12
STEP = 1e-6


def agreement(maps: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """The cosine, over a dozen random directions and all images, between the slopes of ``maps`` by autograd and by
    central differences; 0 where it has no gradient.

    Args:
        maps: images N x C x H x W to maps N x h x w, differentiable or not.
        images: in float64.
    """
    generator = torch.Generator().manual_seed(0)
    x = images.clone().requires_grad_()
    with torch.enable_grad():
        seen = maps(x)
        ramp = torch.linspace(0, 1, seen[0].numel(), device=images.device, dtype=images.dtype).view_as(seen[0])
        total = (seen * ramp).sum()
        gradient = torch.autograd.grad(total, x, allow_unused=True)[0] if total.requires_grad else None
    if gradient is None or not bool(torch.isfinite(gradient).all()):
        return 0.0
    ours, theirs = [], []
    for _ in range(DIRECTIONS):
        direction = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
        ends = [(maps((images + h * direction).requires_grad_()) * ramp).sum((1, 2)).detach() for h in (STEP, -STEP)]
        theirs.append((ends[0] - ends[1]) / (2 * STEP))
        ours.append((gradient * direction).sum((1, 2, 3)))
    a, b = torch.cat(ours), torch.cat(theirs)
    scale = a.norm() * b.norm()
    return float(a @ b / scale) if float(scale) > 0 else 0.0
