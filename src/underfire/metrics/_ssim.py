"""Structural similarity in float64, shared by the metrics on maps and on images."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.metrics._inputs import double

WINDOW = 11
CHUNK = 1 << 18
"""Values at a time: bounds the memory, and what stays in the cache is several times faster."""


def mean_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of N x C x H x W in [0, 1], over channels and over windows inside the image; float64, N.

    Gaussian window with sigma 1.5 and 11 taps a side, fewer on smaller images: the largest odd number that
    fits. Constants (0.01)^2 and (0.03)^2 for a data range of 1, whatever the images' own range.

    In float32 the variances of bright flat areas drown in cancellation: the mean is then off by up to 6e-5,
    a sixth of the noise that a perturbation of 0.001 makes there; hence float64.
    """
    from kornia.metrics import ssim

    side = min(a.shape[-2:])
    window = min(WINDOW, side if side % 2 else side - 1)
    images = max(1, CHUNK // a[0].numel()) if len(a) else 1
    means = [
        # eps=0: kornia's guard is not needed with these constants, and keeps ssim(x, x) from being 1.
        ssim(double(x), double(y), max(1, window), max_val=1.0, eps=0.0, padding="valid").mean(dim=(1, 2, 3))
        for x, y in zip(torch.split(a, images), torch.split(b, images), strict=True)
        if len(x)
    ]
    result: Tensor = torch.cat(means) if means else double(a.new_zeros(0))
    return result.clamp(-1, 1)
