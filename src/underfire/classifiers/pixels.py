"""The path from pixels to logits that the user's network and its prepared copy share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from underfire.checkpoints import state_hash
from underfire.classifiers.features import FeatureTap, tap_module
from underfire.errors import ClassifierError


@dataclass(frozen=True)
class Recorded:
    """One forward pass: ``logits`` N x K, the last convolutional ``features`` N x C x h x w as its graph has
    them, in its own precision (None where none were found), and the ``weight`` K x C and ``bias`` K of the last linear
    layer that ran. ``scales`` are the feature maps N x C' x h' x w' at every resolution finer than theirs, finest
    first, where the pass was asked to keep them."""

    logits: Tensor
    features: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    scales: tuple[Tensor, ...]

    def cam_error(self) -> float:
        """How far head(mean(features)) is from the logits, relative to their size; inf where it is undefined."""
        if self.features is None or self.weight is None or self.weight.shape[1:] != self.features.shape[1:2]:
            return float("inf")
        pooled = torch.nn.functional.linear(full_precision(self.features).mean((2, 3)), self.weight, self.bias)
        logits = two_classes(pooled)
        if logits.shape != self.logits.shape:
            return float("inf")
        difference = (logits - self.logits).abs().max() / self.logits.abs().max().clamp_min(1)
        return float(difference.detach())


class Later(Recorded):
    """A forward pass that is made when somebody first looks at it, under the gradient mode of when it was asked for.

    MASK makes passes of its own and looks at none that is shared; most objectives do.
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


TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
"""How far logits may lie from what they should be, relative to the largest, by the precision they come from."""


def full_precision(values: Tensor) -> Tensor:
    """Half-precision ``values`` as float32."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def two_classes(logits: Tensor) -> Tensor:
    """A single logit z as the two logits (0, z), whose softmax is (1 - sigmoid(z), sigmoid(z))."""
    if logits.ndim == 1:
        logits = logits.unsqueeze(1)
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


class Pixels(nn.Module):
    """Normalisation, the network, and logits of at least two classes.

    Args:
        module: the network. Its output is a tensor N x K, N x 1 or N, or has one as ``.logits``.
        mean, std: per-channel normalisation, or None for a network that takes pixels.
        features: name of the module whose output are the last convolutional features; found where None.
    """

    def __init__(
        self,
        module: nn.Module,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        features: str | None,
    ) -> None:
        super().__init__()
        self.module = module
        self.features = features
        self.mean = None if mean is None else tuple(float(value) for value in mean)
        self.std = None if std is None else tuple(float(value) for value in std)
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def normalise(self, images: Tensor) -> Tensor:
        """(images - mean) / std, on the images' device. Pixels in [0, 1], N x C x H x W."""
        if self.mean is None or self.std is None:
            return images
        if images.device not in self._constants:
            scale = 1 / torch.tensor(self.std, dtype=torch.float64)
            shift = -torch.tensor(self.mean, dtype=torch.float64) * scale
            self._constants[images.device] = (scale.to(images.device), shift.to(images.device))
        scale, shift = (value.to(images.dtype).view(1, -1, 1, 1) for value in self._constants[images.device])
        return images * scale + shift

    @property
    def tolerance(self) -> float:
        """How far its logits may lie from those of exact arithmetic, relative to the largest."""
        weights = next((part.dtype for part in self.module.parameters()), torch.float32)
        return TOLERANCE.get(weights, 1e-4)

    def convert(self, normalised: Tensor) -> Tensor:
        """What is done to the normalised images just before the network sees them."""
        return normalised

    def run(self, images: Tensor) -> Tensor:
        """The network on pixels; what it returns, as a tensor of logits N x K with K >= 2."""
        output = self.module(self.convert(self.normalise(images)))
        logits = getattr(output, "logits", output)
        if not isinstance(logits, Tensor):
            raise ClassifierError(
                f"the network returns a {type(output).__name__}; expected a tensor of logits N x K, or an object that "
                "has one as .logits. Wrap it in a module that returns the logits alone."
            )
        return two_classes(full_precision(logits))

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images)

    def sha256(self) -> str:
        """Of the network's parameters and buffers, its normalisation, and where its features are taken: what was made
        for this classifier knows it by that."""
        return self._sha256(self.module)

    def _sha256(self, module: nn.Module) -> str:
        said = repr((state_hash(module), self.mean, self.std, self.features))
        return hashlib.sha256(said.encode()).hexdigest()

    def record(self, images: Tensor, mode: TorchFunctionMode | None = None, *, scales: bool = False) -> Recorded:
        """One forward pass with its features and head.

        Args:
            mode: changes what functions do on the way.
            scales: keep the finer feature maps too, which takes memory.
        """
        tap = FeatureTap(scales)
        with ExitStack() as stack:
            if mode is not None:
                stack.enter_context(mode)
            stack.enter_context(tap)
            if self.features is not None:
                named = stack.enter_context(tap_module(self.module, self.features))
            logits = self.run(images)
        features = named[-1] if self.features is not None else tap.features
        weight, bias = (None if part is None else full_precision(part) for part in (tap.weight, tap.bias))
        return Recorded(logits, features, weight, bias, _finer(tap, features))


def _finer(tap: FeatureTap, features: Tensor | None) -> tuple[Tensor, ...]:
    """What ``tap`` kept that is finer than ``features``, finest first."""
    if features is None or features.ndim != 4:
        return ()
    height, width = features.shape[2:]
    larger = [size for size in tap.finer if size[0] > height and size[1] > width]
    return tuple(full_precision(tap.finer[size]) for size in sorted(larger, key=lambda s: s[0] * s[1], reverse=True))
