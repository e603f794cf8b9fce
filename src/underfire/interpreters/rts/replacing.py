"""The content of removed pixels while a masker is trained: a blurred image, or noise around a random colour."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR = 11 / 224
NOISE = 0.11
COLOUR = 0.33


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Blur images N x C x H x W with a Gaussian of ``sigma`` pixels; borders are mirrored."""
    reach = min(math.ceil(2.5 * sigma), min(images.shape[2:]) - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(images.shape[1], 1)
    padded = F.pad(images, [reach] * 4, mode="reflect")
    rows = F.conv2d(padded, kernel[:, None, :, None], groups=images.shape[1])
    return F.conv2d(rows, kernel[:, None, None, :], groups=images.shape[1])


def replacements(images: Tensor, generator: torch.Generator, blur_share: float = 0.5) -> Tensor:
    """Draw a replacement for each image N x C x H x W in [0, 1]; the replacements are in [0, 1] too.

    With probability ``blur_share`` it is the image itself, blurred (sigma 11 for images of 224 pixels). Otherwise it is
    grey, shifted by up to 0.33 per channel, plus noise of standard deviation 0.11.

    Args:
        generator: a random number generator of the CPU.
    """
    count, channels = images.shape[:2]
    pick = torch.rand(count, 1, 1, 1, generator=generator) < blur_share
    shift = (2 * torch.rand(count, channels, 1, 1, generator=generator) - 1) * COLOUR
    noise = torch.randn(images.shape, generator=generator) * NOISE
    colours = (0.5 + shift + noise).clamp(0, 1).to(images)
    return torch.where(pick.to(images.device), blurred(images, BLUR * min(images.shape[2:])), colours)


def composed(images: Tensor, others: Tensor, maps: Tensor) -> Tensor:
    """Blend ``images`` (where the maps N x H x W are 1) with ``others`` (where they are 0).

    Gradients flow through the maps only.
    """
    weights = maps.unsqueeze(1)
    return weights * images.detach() + (1 - weights) * others.detach()
