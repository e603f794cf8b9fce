"""What stands where a map takes pixels away: a blurred image, or noise around a random colour."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR = 11 / 224
NOISE = 0.11
COLOUR = 0.33


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of N x C x H x W with ``sigma`` in pixels, mirrored at the borders."""
    reach = min(math.ceil(2.5 * sigma), min(images.shape[2:]) - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(images.shape[1], 1)
    padded = F.pad(images, [reach] * 4, mode="reflect")
    rows = F.conv2d(padded, kernel[:, None, :, None], groups=images.shape[1])
    return F.conv2d(rows, kernel[:, None, None, :], groups=images.shape[1])


def replacements(images: Tensor, generator: torch.Generator, blur_share: float = 0.5) -> Tensor:
    """For each image N x C x H x W in [0, 1] what takes its place, in [0, 1].

    With probability ``blur_share`` the image itself, blurred (sigma 11 of 224 pixels); else grey that is moved by up to
    0.33 per channel, with noise of standard deviation 0.11. ``generator`` is the CPU's.
    """
    count, channels = images.shape[:2]
    pick = torch.rand(count, 1, 1, 1, generator=generator) < blur_share
    shift = (2 * torch.rand(count, channels, 1, 1, generator=generator) - 1) * COLOUR
    noise = torch.randn(images.shape, generator=generator) * NOISE
    colours = (0.5 + shift + noise).clamp(0, 1).to(images)
    return torch.where(pick.to(images.device), blurred(images, BLUR * min(images.shape[2:])), colours)


def composed(images: Tensor, others: Tensor, maps: Tensor) -> Tensor:
    """``images`` where the maps N x H x W are 1, ``others`` where they are 0. Gradients flow through the maps alone."""
    weights = maps.unsqueeze(1)
    return weights * images.detach() + (1 - weights) * others.detach()
