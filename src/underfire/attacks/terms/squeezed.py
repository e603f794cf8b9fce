"""The prediction on squeezed images, computed once per step for all terms that look at it."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.attacks.terms.base import Point
from underfire.transforms.squeezers import Squeezer


def squeezed(point: Point, squeezer: Squeezer) -> Tensor:
    """Compute the logits N x K of the squeezed images, differentiable in the images. One pass per squeezer and step."""
    key = repr(squeezer)
    found = point.known.get(key)
    if found is None or (torch.is_grad_enabled() and point.image.requires_grad and not found.requires_grad):
        found = point.run(squeezer.differentiable(point.image))
        point.known[key] = found
    return found


def shift(point: Point, squeezer: Squeezer) -> Tensor:
    """Compute |p(x') - p(psi(x'))|_1, the score of feature squeezing (Xu et al. 2018), N in [0, 2]."""
    return l1(point.reading.logits.softmax(1), squeezed(point, squeezer).softmax(1))


def l1(first: Tensor, second: Tensor) -> Tensor:
    """Compute the L1 distance between class probabilities N x K, N in [0, 2]."""
    return (first - second).abs().sum(1)
