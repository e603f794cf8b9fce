"""Edges of images, where perturbations are hard to see."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.errors import InputError


def sobel(images: Tensor) -> Tensor:
    """Compute the Sobel magnitude of the grey images, with which AdvEdge and AdvEdge+ weight a perturbation.

    Grey is the mean of the channels. Smoothing is [1, 2, 1] / 4 across and the derivative [1, 0, -1] along each axis;
    the magnitude is sqrt((h^2 + v^2) / 2). Pixels at the border are repeated. The values are those of
    `skimage.filters.sobel`, and exactly 0 in flat parts of the image. Abdukhamidov et al., "Interpretations Cannot Be
    Trusted", eqs. 10-15.

    Args:
        images: floating point, N x C x H x W, usually in [0, 1].

    Returns:
        N x 1 x H x W, same dtype and device, at least 0; at most sqrt(10) / 4 (about 0.79) for images in [0, 1].
        Without a graph, because edges are constants of the attack.

    Raises:
        InputError: not four dimensions, no channel, no pixel, or not floating point.
    """
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(f"images have shape {tuple(images.shape)}; expected N x C x H x W; only N may be zero.")
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; expected floating point. Divide 8-bit images by 255.")
    # Channels are added one by one, so that equal pixels get equal greys, bit for bit, in any memory layout.
    channels = images.detach().unbind(dim=1)
    grey = functools.reduce(torch.add, channels).unsqueeze(1) / len(channels)
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    # The difference is taken before the smoothing, so in flat areas it is exactly 0 and stays 0.
    rows = padded[:, :, :-2, :] - padded[:, :, 2:, :]
    columns = padded[:, :, :, :-2] - padded[:, :, :, 2:]
    vertical = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    horizontal = (columns[..., :-2, :] + 2 * columns[..., 1:-1, :] + columns[..., 2:, :]) / 4
    return ((horizontal.square() + vertical.square()) / 2).sqrt()
