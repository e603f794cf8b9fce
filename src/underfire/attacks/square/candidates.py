"""Images that a random search tries: squares of pixels at the ends of an L-inf ball (Andriushchenko et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire import randomness

FIRST_SHARE = 0.3
"""The share of the image that the first squares cover."""


def whole_levels(eps: float) -> int:
    """Return the number of levels of 1/255 that a radius in pixel units holds."""
    return int(eps * 255 + 1e-3)


def candidate(
    benign: Tensor, best: Tensor, ids: Tensor, levels: int, query: int, queries: int, *, seed: int, purpose: str
) -> Tensor:
    """Change each image: vertical stripes in the first query, and one square of +levels or -levels in each other.

    The square's side shrinks with the queries. Inside it, each channel is ``levels`` above or below the benign image.

    Args:
        benign: the benign images N x C x H x W at 8 bits, in [0, 1].
        best: the best images so far, N x C x H x W.
        ids: int64 N, the images' identities. An image's squares do not depend on the other images.
        levels: the change of each value, in levels of 1/255.
        query: the number of the query, from 0.
        queries: the number of all queries.
        seed: of the random numbers.
        purpose: the beginning of the names under which random numbers are drawn.

    Returns:
        N x C x H x W at 8 bits.
    """
    count, channels, height, width = best.shape
    if query == 0:
        signs = randomness.integers(seed, ids, f"{purpose} stripes", 0, (channels, 1, width), 2) * 2 - 1
        return _moved(benign, signs.expand(count, channels, height, width), levels)
    share = FIRST_SHARE * (1 - query / queries) ** 2
    side = max(1, round((share * height * width) ** 0.5))
    tall, wide = min(side, height), min(side, width)
    top = randomness.integers(seed, ids, f"{purpose} top", query, (1, 1, 1), height - tall + 1)
    left = randomness.integers(seed, ids, f"{purpose} left", query, (1, 1, 1), width - wide + 1)
    signs = randomness.integers(seed, ids, f"{purpose} sign", query, (channels, 1, 1), 2) * 2 - 1
    rows = torch.arange(height, device=ids.device).view(1, 1, height, 1)
    columns = torch.arange(width, device=ids.device).view(1, 1, 1, width)
    inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
    return torch.where(inside, _moved(benign, signs, levels), best)


def _moved(images: Tensor, signs: Tensor, levels: int) -> Tensor:
    """Move every value of 8-bit images by whole levels, inside [0, 1]."""
    return ((images * 255).round() + signs * levels).clamp(0, 255).div(255).to(images.dtype)
