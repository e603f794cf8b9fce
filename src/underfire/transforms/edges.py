"""Edges of an image: where a perturbation hides best."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.errors import InputError


def sobel(images: Tensor) -> Tensor:
    """Sobel magnitude of the grey image, as AdvEdge and AdvEdge+ weigh a perturbation with it.

    Grey is the plain mean of the channels. Smoothing [1, 2, 1] / 4 across and derivative [1, 0, -1] along
    each axis, magnitude sqrt((h^2 + v^2) / 2), edge pixels repeated at the border: the values of
    `skimage.filters.sobel`. Exactly 0 where the image is flat.

    Args:
        images: floating point, N x C x H x W, usually in [0, 1].

    Returns:
        N x 1 x H x W, same dtype and device, at least 0; at most sqrt(10) / 4 (about 0.79) for images in
        [0, 1]. Carries no graph: the edges are computed once and are constants of the attack.

    Raises:
        InputError: not four dimensions, no channel, no pixel, or not floating point.

    Source: Abdukhamidov et al., "Interpretations Cannot Be Trusted", eqs. 10-15.
    """
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(f"images have shape {tuple(images.shape)}; expected N x C x H x W, none of C, H, W zero.")
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; expected floating point: 8-bit images must be divided by 255.")
    # Channels are added one by one, so that equal pixels get bit-equal greys whatever the memory layout.
    channels = images.detach().unbind(dim=1)
    grey = functools.reduce(torch.add, channels).unsqueeze(1) / len(channels)
    padded = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    # The difference comes before the smoothing: on flat areas it is exactly 0, and stays it.
    rows = padded[:, :, :-2, :] - padded[:, :, 2:, :]
    columns = padded[:, :, :, :-2] - padded[:, :, :, 2:]
    vertical = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4
    horizontal = (columns[..., :-2, :] + 2 * columns[..., 1:-1, :] + columns[..., 2:, :]) / 4
    return ((horizontal.square() + vertical.square()) / 2).sqrt()
