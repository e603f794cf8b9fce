"""The record of one forward pass: logits, features and head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from underfire.classifiers.affine import AffineNorm
from underfire.classifiers.attention import Attended
from underfire.classifiers.tokens import Arrangement
from underfire.numerics import full_precision, outer_gradient


def two_classes(logits: Tensor) -> Tensor:
    """Convert a single logit z (N x 1) to two logits (-z / 2, z / 2).

    Their softmax is (1 - sigmoid(z), sigmoid(z)), as that of (0, z) would be; but each of the two depends on the image,
    so that both classes have maps. Logits of more classes, N x K, are returned as they are.
    """
    return torch.cat([-logits / 2, logits / 2], 1) if logits.shape[1] == 1 else logits


def as_returned(logits: Tensor) -> Tensor:
    """Convert the two logits (-z / 2, z / 2) back to the single one, N x 1; others, N x K, are returned as they are."""
    single = logits.shape[1] == 2 and bool((logits[:, 0] == -logits[:, 1]).all())
    return 2 * logits[:, 1:] if single else logits


@dataclass(frozen=True)
class Recorded:
    """One forward pass.

    Args:
        logits: N x K.
        features: the last features, N x C x h x w, as part of the graph and in the network's precision: those of
            convolutions, or those of tokens at their places. None if none were found.
        weight, bias: K x C and K, of the last linear layer that ran; None if there was none. If the features have a
            channel for each class, and no linear layer reads them, the weight is the identity.
        scales: the last feature maps N x C' x h' x w' of every resolution finer than ``features``, finest first; empty
            unless the pass was asked to keep them.
        norm: the batch norm in front of the last linear layer; None if there is none.
        source: the tensor that holds the features of tokens in the network; None if that is ``features`` itself.
        arrangement: the places of the tokens in ``source``; None if ``features`` is in the network as it is.
        attention: the matrices of attention; None unless the pass was asked to keep them.
        runs: how often the module that the user named for the features ran in this pass, the last of which counts; 1
            if the features were found.
    """

    logits: Tensor
    features: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    scales: tuple[Tensor, ...]
    # With a factory, no value stands in the class: there ``Later`` would find it, and not make its pass.
    norm: AffineNorm | None = field(default_factory=lambda: None)
    source: Tensor | None = field(default_factory=lambda: None)
    arrangement: Arrangement | None = field(default_factory=lambda: None)
    attention: Attended | None = field(default_factory=lambda: None)
    runs: int = field(default_factory=lambda: 1)

    def gradient(self, total: Tensor, graph: bool) -> Tensor | None:
        """Compute the gradient of ``total`` in the features, N x C x h x w; None if it does not depend on them.

        Args:
            total: a scalar that was computed from this pass. Its graph is kept.
            graph: True if the gradient will be differentiated.
        """
        source = self.features if self.arrangement is None else self.source
        assert source is not None
        (gradient,) = torch.autograd.grad(
            total, source, outer_gradient(total, graph), create_graph=graph, retain_graph=True, allow_unused=True
        )
        return gradient if gradient is None or self.arrangement is None else self.arrangement.maps(gradient)

    def cam_weight(self) -> Tensor | None:
        """Return the weights K x C, K >= 2, of the pooled features in the logits; None if there is no linear layer.

        A batch norm between pooling and head is part of them: W (s x + t) + b = (W s) x + (W t + b).
        """
        if self.weight is None:
            return None
        weight = self.weight if self.norm is None else self.weight * self.norm.scale
        # A single logit z stands for the two logits (-z / 2, z / 2).
        return torch.cat([-weight / 2, weight / 2]) if weight.shape[0] == 1 else weight

    def cam_error(self) -> float:
        """Compute the largest difference between head(mean(features)) and the logits, relative to the largest logit.

        A shift of all logits of an image does not count, because no probability depends on it: a LogSoftmax after the
        head is one. Nor does a positive factor of all logits, because no map depends on it: a temperature is one. The
        error is near 0 for networks that CAM is defined for, and inf if it cannot be computed.
        """
        if self.features is None or self.weight is None or self.weight.shape[1:] != self.features.shape[1:2]:
            return float("inf")
        pooled = full_precision(self.features).mean((2, 3))
        if self.norm is not None:
            pooled = pooled * self.norm.scale + self.norm.shift
        logits = two_classes(torch.nn.functional.linear(pooled, self.weight, self.bias))
        if logits.shape != self.logits.shape:
            return float("inf")
        centred, expected = (each - each.mean(1, keepdim=True) for each in (logits, self.logits))
        size = self.logits.abs().max().clamp_min(1)
        difference = (centred - expected).abs().max()
        factor = (centred * expected).sum() / centred.square().sum()
        if bool(factor > 0):  # it is NaN if all logits are alike
            difference = torch.minimum(difference, (factor * centred - expected).abs().max())
        return float((difference / size).detach())


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
