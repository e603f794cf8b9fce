"""The discrepancy of class activation maps, as robust training penalises it (Boopathy et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.classifiers import Recorded
from underfire.errors import InterpreterError
from underfire.numerics import full_precision, is_class


def class_maps(recorded: Recorded) -> Tensor:
    """Compute the CAM of every class as it stands, without scaling: g_c = sum_k W[c, k] A_k.

    Args:
        recorded: a forward pass of a network whose head is linear in the mean of the features A over space.

    Returns:
        N x K x h x w, differentiable in features and weights.

    Raises:
        InterpreterError: the network has no such features, or no such head.
    """
    weight, features = recorded.cam_weight(), recorded.features
    if features is None or features.ndim != 4 or weight is None or weight.shape[1] != features.shape[1]:
        raise InterpreterError(
            "the loss compares class activation maps, and this classifier has none: its logits are no linear layer of "
            "the spatial mean of its last convolutional features. Choose an objective without maps: adversarial."
        )
    return torch.einsum("kc,nchw->nkhw", weight, full_precision(features))


def discrepancy(clean: Tensor, attacked: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the distance D2 of the maps of clean and attacked images over all classes (Boopathy et al. 2020).

    D2 = |g'_y - g_y|_1 + sum over c != y of q_c |g'_c - g_c|_1, where q is the softmax of the attacked image's logits
    over the classes other than y.

    Args:
        clean, attacked: g and g', N x K x h x w; see ``class_maps``.
        logits: of the attacked images, N x K.
        labels: y, int64 N.

    Returns:
        D2, N.
    """
    moved = (attacked - clean).abs().sum((2, 3))
    own = is_class(labels, logits.shape[1])
    others = logits.masked_fill(own, -torch.inf).softmax(1)
    return (moved * torch.where(own, 1.0, others)).sum(1)
