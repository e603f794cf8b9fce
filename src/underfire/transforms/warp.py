"""Warping: each pixel of the result is read from a place nearby, between the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.errors import InputError


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Images sampled bilinearly at each pixel's place plus its flow; places beyond the border are read on it.

    Zero flow returns the images bit for bit. At whole pixels, where bilinear sampling has a kink, the gradient is that
    towards larger coordinates.

    Args:
        images: N x C x H x W.
        flow: N x 2 x H x W, in pixels: down, then to the right. Differentiable.

    Source: Xiao et al. 2018, "Spatially Transformed Adversarial Examples", eq. 1.
    """
    count, channels, height, width = images.shape
    if flow.shape != (count, 2, height, width):
        raise InputError(f"flow has shape {tuple(flow.shape)}; expected {(count, 2, height, width)}.")
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype).view(1, -1, 1)
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, 1, -1)
    y, x = (rows + flow[:, 0]).clamp(0, height - 1), (columns + flow[:, 1]).clamp(0, width - 1)
    top, left = y.detach().floor(), x.detach().floor()
    down, right = (y - top).unsqueeze(1), (x - left).unsqueeze(1)
    pixels = images.flatten(2)

    def at(row: Tensor, column: Tensor) -> Tensor:
        place = row.clamp_max(height - 1) * width + column.clamp_max(width - 1)
        chosen = place.long().flatten(1).unsqueeze(1).expand(-1, channels, -1)
        return pixels.gather(2, chosen).view_as(images)

    upper = torch.lerp(at(top, left), at(top, left + 1), right)
    lower = torch.lerp(at(top + 1, left), at(top + 1, left + 1), right)
    return torch.lerp(upper, lower, down)
