"""A test of gradients: does a function's gradient agree with its finite differences?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

DIRECTIONS = 12
STEP = 1e-6


def agreement(maps: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Compare the slopes of ``maps`` by autograd with central differences, along a dozen random directions.

    Args:
        maps: a function from images N x C x H x W to maps N x h x w, differentiable or not.
        images: float64.

    Returns:
        The cosine of the two lists of slopes over all directions and images; 0 if there is no gradient.
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
    by_autograd, by_differences = [], []
    for _ in range(DIRECTIONS):
        direction = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
        ends = [(maps((images + h * direction).requires_grad_()) * ramp).sum((1, 2)).detach() for h in (STEP, -STEP)]
        by_differences.append((ends[0] - ends[1]) / (2 * STEP))
        by_autograd.append((gradient * direction).sum((1, 2, 3)))
    a, b = torch.cat(by_autograd), torch.cat(by_differences)
    scale = a.norm() * b.norm()
    return float(a @ b / scale) if float(scale) > 0 else 0.0
