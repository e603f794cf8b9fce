"""Ways from the image to the logits that do not lead through the last features.

A network that averages several networks, or passes of flipped images, pools features in each of them, and the features
that are found are those of the last one. Maps made of these would explain a part of the network as if it were all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.classifiers.pixels import Pixels
from underfire.classifiers.recorded import Recorded
from underfire.errors import ClassifierError, warn

IMAGES = 2
"""So many images are enough to see a way."""

MOST = 0.1
"""A share of the gradient that may pass beside the features without a warning."""


def share_beside(pixels: Pixels, images: Tensor) -> float:
    """Compute the share of the logits' gradient in the image that does not pass through the features, in [0, 1].

    The gradient is the sum of what passes through them and of what is left if they are held; the share is the L2 norm
    of the latter over the sum of both norms. It is 0 for features of a token model with a class token, which passes
    beside the others by design, and for features that the user named, if their module runs once per pass: inside a
    block, something always passes beside.

    Args:
        images: N x C x H x W in [0, 1], on the network's device; two of them are used.
    """
    image = images[:IMAGES].detach().clone().requires_grad_()
    devices = [image.device] if image.device.type == "cuda" else []
    with torch.enable_grad(), torch.random.fork_rng(devices):  # a network that draws numbers goes on as without a look
        recorded = pixels.record(image)
        source = recorded.features if recorded.arrangement is None else recorded.source
        slopes = source is not None and source.requires_grad and recorded.logits.requires_grad
        if source is None or not slopes or not _is_all_meant(recorded, pixels.features is not None):
            return 0.0
        total = (recorded.logits - recorded.logits.mean(1, keepdim=True)).square().sum()
        (full,) = torch.autograd.grad(total, image, retain_graph=True, allow_unused=True)
        source.register_hook(torch.zeros_like)
        (rest,) = torch.autograd.grad(total, image, allow_unused=True)
    if full is None or rest is None or not bool(full.any()):
        return 0.0
    return float(rest.norm() / (rest.norm() + (full - rest).norm()))


def _is_all_meant(recorded: Recorded, named: bool) -> bool:
    """Return True if nothing but the features should decide: not in a token model's last attention, nor by name."""
    if named:
        return recorded.runs > 1
    return recorded.arrangement is None or recorded.arrangement.extra == 0


def said_beside(share: float) -> str:
    """Say in words what a share means; empty if it is small."""
    if not share > MOST:
        return ""
    return (
        f"{share:.0%} of the logits' gradient reaches the image on other ways than through the last features: the "
        "network averages several networks or several passes (of flipped images, say), or has branches, and Grad-CAM's "
        "maps explain the last of them alone. Explain a member by itself, or use Grad, which needs no features"
    )


def warn_of_ways_beside(classifier: Pixels, images: Tensor, interpreter: str) -> None:
    """Warn, once per classifier, if its features are not all that its logits depend on; see ``share_beside``."""
    if not classifier.ways_looked_at:
        classifier.ways_looked_at = True
        try:
            text = said_beside(share_beside(classifier, images))
        except ClassifierError:  # such as a network for batches of one size, which is no reason to read no maps
            return
        if text:
            warn(f"{interpreter} explains a part of {type(classifier.module).__name__}: {text}.")
