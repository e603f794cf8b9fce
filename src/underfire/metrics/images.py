"""Distances between adversarial and clean images, and the place of the difference.

Every function takes two batches of images, N x C x H x W in [0, 1], of equal shape. It returns one value per image:
shape N, float32 (float64 for float64 images), without a graph. The value of image i depends on image i alone and is
never NaN. All functions raise `InputError` for images of different shapes, of integers, with NaN, or outside [0, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from underfire.errors import InputError
from underfire.metrics._inputs import double, like_inputs, unit_pair
from underfire.metrics._ssim import mean_ssim
from underfire.transforms.edges import sobel


def _images(clean: Tensor, adversarial: Tensor) -> tuple[Tensor, Tensor]:
    return unit_pair(clean, adversarial, "images", ("clean", "adversarial"))


def _perturbation(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Compute adversarial minus clean: float64, N x C x H x W."""
    clean, adversarial = _images(clean, adversarial)
    return double(adversarial) - double(clean)


def ssim(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Mean structural similarity over channels and pixels, in [-1, 1]; 1 for equal images.

    Gaussian window inside the image, sigma 1.5, 11 pixels a side (on smaller images, the largest odd number that fits);
    data range 1. Wang et al. 2004, "Image Quality Assessment". Equal to scikit-image's
    `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)`.
    """
    x, y = _images(clean, adversarial)
    return like_inputs(mean_ssim(x, y), clean, adversarial)


def noise(clean: Tensor, adversarial: Tensor) -> Tensor:
    """1 - SSIM, in [0, 2]; 0 for equal images. Abdukhamidov et al., "Interpretations Cannot Be Trusted"."""
    x, y = _images(clean, adversarial)
    # Subtracted in float64: in float32, noise of 1e-4 would lose three digits.
    return like_inputs(1 - mean_ssim(x, y), clean, adversarial)


def linf(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Largest absolute difference of any pixel and channel, in [0, 1]."""
    return like_inputs(_perturbation(clean, adversarial).abs().amax(dim=(1, 2, 3)), clean, adversarial)


def l2(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Euclidean norm of the perturbation, in [0, sqrt(C H W)]: a sum over pixels and channels, not a mean."""
    return like_inputs(_perturbation(clean, adversarial).square().sum(dim=(1, 2, 3)).sqrt(), clean, adversarial)


def changed_fraction(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Share of the pixels with a difference in at least one channel, in [0, 1]."""
    changed = (_perturbation(clean, adversarial) != 0).any(dim=1)
    return like_inputs(double(changed).mean(dim=(1, 2)), clean, adversarial)


def edge_energy(clean: Tensor, adversarial: Tensor, threshold: float = 0.1) -> Tensor:
    """Share of the squared perturbation on the clean image's edges, in [0, 1]; 0 without perturbation.

    Compare it with the share of an attack with uniform shaping, and with the share of pixels on edges, which is the
    value for a perturbation that ignores edges. Edges are those of Abdukhamidov et al., "Interpretations Cannot Be
    Trusted", eqs. 10-15.

    Args:
        clean, adversarial: N x C x H x W in [0, 1].
        threshold: a pixel is on an edge if its Sobel magnitude exceeds this; AdvEdge+ uses 0.1.
    """
    if not (math.isfinite(threshold) and threshold >= 0):
        raise InputError(f"threshold is {threshold}; expected a Sobel magnitude of at least 0.")
    energy = _perturbation(clean, adversarial).square().sum(dim=1)
    # The edges in the dtype of the image, so that they are exactly the edges that the attack used.
    edges = (sobel(clean)[:, 0] > threshold).to(energy.device)
    total = energy.sum(dim=(1, 2))
    share = (energy * edges).sum(dim=(1, 2)) / torch.where(total > 0, total, 1.0)
    return like_inputs(share.clamp(max=1), clean, adversarial)
