"""Images on which the network returns NaN or infinite logits: an attack that ends on such an image has failed."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.errors import warn


def sound(benign: Benign, images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Put the clean image and its logits in the place of each image whose logits are not finite, with a warning.

    Such an image reaches no class and has no map. Judged as its clean image, it counts as failed, with finite numbers.

    Args:
        benign: the clean images with their logits, which are finite.
        images: images under an attack or control, N x C x H x W.
        logits: their logits, N x K.

    Returns:
        The images and the logits; the same tensors if all logits are finite.
    """
    broken = ~torch.isfinite(logits).all(1)
    count = int(broken.sum())
    if not count:
        return images, logits
    warn(
        f"the classifier returns NaN or infinite logits for {count} of {len(images)} images under an attack or a "
        "control: they count as failed, and their clean images stand in their place."
    )
    clean = benign.images.to(images), benign.logits.to(logits)
    return torch.where(broken.view(-1, 1, 1, 1), clean[0], images), torch.where(broken.view(-1, 1), clean[1], logits)
