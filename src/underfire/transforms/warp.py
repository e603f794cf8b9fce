"""Warping of images by a flow field."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.errors import InputError


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Sample images bilinearly at the position of each pixel plus its flow. Positions are clamped to the image.

    Zero flow returns the images bit for bit. At integer positions bilinear sampling has a kink; there the gradient is
    the one towards larger coordinates. Xiao et al. 2018, "Spatially Transformed Adversarial Examples", eq. 1.

    Args:
        images: N x C x H x W.
        flow: N x 2 x H x W, in pixels: down, then to the right.

    Returns:
        N x C x H x W, differentiable in images and flow.

    Raises:
        InputError: the flow has the wrong shape.
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
