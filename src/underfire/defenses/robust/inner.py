"""Attacks by signed gradient steps inside a ball in L-inf: those of robust training, and those that measure it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import Classifier, Live
from underfire.defenses.robust.discrepancy import class_maps


def ascend(
    images: Tensor, attacked: Tensor, eps: float, size: float, steps: int, value: Callable[[Tensor], Tensor]
) -> Tensor:
    """Ascend a value by signed gradient steps, inside the ball and in [0, 1].

    Args:
        images: the middle of the ball, N x C x H x W in [0, 1].
        attacked: where the ascent begins, N x C x H x W inside the ball.
        eps: the radius of the ball in L-inf.
        size: the length of a step in each pixel.
        steps: the number of steps.
        value: computes the values N of images; that of an image may depend on this image only.

    Returns:
        N x C x H x W, no graph.
    """
    for _ in range(steps):
        with torch.enable_grad():
            leaf = attacked.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(value(leaf).sum(), leaf)
        moved = attacked + size * gradient.sign()
        attacked = torch.minimum(torch.maximum(moved, images - eps), images + eps).clamp(0, 1)
    return attacked.detach()


def on_prediction(classifier: Classifier, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what PGD ascends: the cross-entropy of images for ``labels``, int64 N."""
    live = Live(classifier)
    return lambda images: F.cross_entropy(live.record(images).logits, labels, reduction="none")


def on_top_cells(classifier: Classifier, images: Tensor, labels: Tensor, count: int) -> Callable[[Tensor], Tensor]:
    """Return what an attack on the map ascends: the share of the map that leaves its most important cells.

    The cells are the ``count`` largest ones of the clean map, as in the top-k attack of Ghorbani et al. (2019); see
    ``share_outside``.

    Args:
        classifier: a classifier with class activation maps.
        images: clean images N x C x H x W in [0, 1].
        labels: int64 N, the classes of the maps.
        count: the number of cells; at most all but one.

    Raises:
        InterpreterError: the classifier has no class activation maps.
    """
    live, own = Live(classifier), torch.arange(len(labels), device=labels.device)

    def maps(some: Tensor) -> Tensor:
        return class_maps(live.record(some))[own, labels].flatten(1)

    with torch.no_grad():
        clean = maps(images)
    top = clean.topk(min(count, clean.shape[1] - 1), dim=1).indices
    return lambda some: share_outside(maps(some), top)


def share_outside(maps: Tensor, top: Tensor) -> Tensor:
    """Compute 1 - sum over top of h_i / sum over all of h_i, h = g - min g: what a map has outside of some cells.

    h is the map as it is shown, but for a factor.

    Args:
        maps: g, N x cells.
        top: the places of the cells, int64 N x k.

    Returns:
        N in [0, 1]; 1 for constant maps.
    """
    above = maps - maps.amin(1, keepdim=True)
    return 1 - above.gather(1, top).sum(1) / above.sum(1).clamp(min=1e-12)
