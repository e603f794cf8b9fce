"""A selector made from a classifier's head, for training images that do not show all classes."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.classifiers import Recorded
from underfire.errors import InterpreterError
from underfire.interpreters.rts.network import top_of
from underfire.numerics import is_class

HEAD_IMAGES = 64
"""The largest number of images that decide the threshold between present and absent."""


def head_selector(recorded: Recorded, labels: Tensor) -> Tensor:
    """Make the selector's vectors K x C from the weights W of the head.

    The presence of a class is W f - t, for the mean features f over space. The threshold t is the middle between the
    mean of the images' own logits and the mean of their highest other ones. A selector has no bias: t is written as a
    product with u, which is 1 on average, u = mean(f) / |mean(f)|^2. The vectors are W - t u.

    Args:
        recorded: a forward pass of the encoder on training images.
        labels: int64 N.

    Raises:
        InterpreterError: the logits are no linear function of the mean features.
    """
    weight, features = recorded.cam_weight(), top_of(recorded)
    if weight is None or weight.shape[1] != features.shape[1]:
        raise InterpreterError(
            "selector is 'head', and the logits of this encoder are no linear function of its mean features: leave "
            "--selector out, and give images of all classes."
        )
    pooled = features.mean((2, 3))
    evidence = torch.nn.functional.linear(pooled, weight.to(pooled.dtype))
    own = is_class(labels, evidence.shape[1])
    threshold = (evidence[own].mean() + evidence.masked_fill(own, -torch.inf).amax(1).mean()) / 2
    mean = pooled.mean(0)
    return weight.to(pooled.dtype) - threshold * mean / mean.square().sum()
