"""The record of one forward pass: logits, features and head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from underfire.numerics import full_precision


def two_classes(logits: Tensor) -> Tensor:
    """Convert a single logit z (N or N x 1) to two logits (0, z), whose softmax is (1 - sigmoid(z), sigmoid(z)).

    Logits of more classes, N x K, are returned as they are.
    """
    if logits.ndim == 1:
        logits = logits.unsqueeze(1)
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


@dataclass(frozen=True)
class Recorded:
    """One forward pass.

    Args:
        logits: N x K.
        features: the last convolutional features, N x C x h x w, as part of the graph and in the network's precision;
            None if none were found.
        weight, bias: K x C and K, of the last linear layer that ran; None if there was none.
        scales: the last feature maps N x C' x h' x w' of every resolution finer than ``features``, finest first; empty
            unless the pass was asked to keep them.
    """

    logits: Tensor
    features: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    scales: tuple[Tensor, ...]

    def cam_error(self) -> float:
        """Compute the largest difference between head(mean(features)) and the logits, relative to the largest logit.

        It is near 0 for networks that CAM is defined for, and inf if it cannot be computed.
        """
        if self.features is None or self.weight is None or self.weight.shape[1:] != self.features.shape[1:2]:
            return float("inf")
        pooled = torch.nn.functional.linear(full_precision(self.features).mean((2, 3)), self.weight, self.bias)
        logits = two_classes(pooled)
        if logits.shape != self.logits.shape:
            return float("inf")
        difference = (logits - self.logits).abs().max() / self.logits.abs().max().clamp_min(1)
        return float(difference.detach())


class Later(Recorded):
    """A forward pass that is made when one of its values is first read, if ever.

    It is made in the gradient mode in which this object was created. MASK, for example, never reads the shared pass.
    """

    def __init__(self, make: Callable[[], Recorded]) -> None:
        vars(self).update(_make=make, _graph=torch.is_grad_enabled())

    def __getattr__(self, name: str) -> Any:
        make = vars(self).get("_make")
        if make is None:
            raise AttributeError(name)
        with torch.set_grad_enabled(self._graph):
            vars(self).update(vars(make()), _make=None)
        return getattr(self, name)
