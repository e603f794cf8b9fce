"""The path from pixels to logits, shared by a classifier and by the networks that attacks run on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from underfire.checkpoints import state_hash
from underfire.classifiers.affine import AffineNorm
from underfire.classifiers.attention import Attended, AttentionTap
from underfire.classifiers.axes import order_of
from underfire.classifiers.eights import in_eights
from underfire.classifiers.features import FeatureTap, tap_module
from underfire.classifiers.modes import eagerly, evaluating
from underfire.classifiers.outputs import LogitsReader
from underfire.classifiers.recorded import Recorded, two_classes
from underfire.classifiers.tokens import MOST_EXTRA, Arrangement, Axes, arrangement_of, places
from underfire.numerics import full_precision, tolerance, weights_dtype


class Attackable(Protocol):
    """The interface that attacks and the views of interpreters use: ``Prepared``, ``Live``, or an object like them.

    ``forwards`` counts forward passes over a batch; ``run`` and ``record`` increase it. ``backwards`` counts backward
    passes; the caller increases it for each pass that will be differentiated.
    """

    module: nn.Module
    features: str | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    reader: LogitsReader
    forwards: int
    backwards: int

    @property
    def precision(self) -> str:
        """The name of the precision, a key of ``numerics.PRECISIONS``."""

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""

    def run(self, images: Tensor, *, twice: bool = True) -> Tensor:
        """Compute logits N x K of images N x C x H x W in [0, 1].

        Args:
            twice: False if the pass will be differentiated once at most: attention may then use its fused kernels.
        """

    def in_eights(self, images: Tensor) -> AbstractContextManager[None]:
        """Make the context of a forward pass; see ``Pixels.in_eights``."""

    def normalise(self, images: Tensor) -> Tensor:
        """Compute (images - mean) / std."""

    def record(
        self,
        images: Tensor,
        mode: TorchFunctionMode | None = None,
        *,
        scales: bool = False,
        attention: bool = False,
        twice: bool = True,
    ) -> Recorded:
        """Compute logits, features and head in one forward pass."""

    def sha256(self) -> str:
        """Compute the hash that identifies the classifier."""


class Pixels(nn.Module):
    """Normalisation, the network, and logits of at least two classes.

    Args:
        module: the network.
        mean, std: normalisation, one value per channel; None for a network that takes pixels in [0, 1].
        features: name of the module whose output are the last convolutional features; found automatically if None.
        reader: reads the logits from what the network returns.
    """

    convolutions_in_eights: ClassVar[bool] = True
    """See ``in_eights``."""

    def __init__(
        self,
        module: nn.Module,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        features: str | None,
        reader: LogitsReader,
    ) -> None:
        super().__init__()
        self.module = module
        self.features = features
        self.reader = reader
        self.mean = None if mean is None else tuple(float(value) for value in mean)
        self.std = None if std is None else tuple(float(value) for value in std)
        self.ways_looked_at = False  # see ``beside``
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        tensors = chain(self.module.parameters(), self.module.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    @property
    def tolerance(self) -> float:
        """The accepted error of the logits in the precision of the weights, relative to ``numerics.scale``."""
        return tolerance(weights_dtype(self.module))

    def normalise(self, images: Tensor) -> Tensor:
        """Compute (images - mean) / std for pixels in [0, 1], N x C x H x W, on the images' device."""
        if self.mean is None or self.std is None:
            return images.clone()  # a network may normalise its input in place: pixels stay as they are
        if images.device not in self._constants:
            with torch.inference_mode(False):  # later passes may need gradients
                scale = 1 / torch.tensor(self.std, dtype=torch.float64)
                shift = -torch.tensor(self.mean, dtype=torch.float64) * scale
                self._constants[images.device] = (scale.to(images.device), shift.to(images.device))
        scale, shift = (value.to(images.dtype).view(1, -1, 1, 1) for value in self._constants[images.device])
        return images * scale + shift

    def convert(self, normalised: Tensor) -> Tensor:
        """Convert normalised images to the dtype of the weights, as the network takes them."""
        return normalised.to(weights_dtype(self.module) or normalised.dtype)

    def run(self, images: Tensor, *, twice: bool = True) -> Tensor:
        """Compute the logits N x K, K >= 2, of images N x C x H x W in [0, 1].

        A single logit becomes two (see ``two_classes``). Half-precision logits are returned as float32.

        Args:
            twice: False if the pass will be differentiated once at most. It matters only for networks that attacks run
                on.

        Raises:
            ClassifierError: the network fails, or returns no logits.
        """
        with eagerly(), self.in_eights(images):
            return two_classes(full_precision(self.output(self.normalise(images))))

    def in_eights(self, images: Tensor) -> AbstractContextManager[None]:
        """Make the context of a forward pass; see ``eights.in_eights``.

        ``run`` and ``record`` enter it by themselves. Enter it before a mode that must see each layer's output as one
        tensor.
        """
        return in_eights(images, self.convolutions_in_eights)

    def output(self, normalised: Tensor) -> Tensor:
        """Compute the network's logits N x K, K >= 1, of normalised images; see ``LogitsReader``."""
        return self.reader.read(self.module, self.convert(normalised))

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images)

    def sha256(self) -> str:
        """Compute the hash that identifies this classifier, over weights, buffers, normalisation and names of parts.

        Results and masker files store it as ``classifier_sha256``. The hash of the weights alone, ``weights_sha256``,
        is ``checkpoints.state_hash(classifier.module)``.
        """
        return self._sha256(self.module)

    def _sha256(self, module: nn.Module) -> str:
        said: tuple[object, ...] = (state_hash(module), self.mean, self.std, self.features)
        if self.reader.entry is not None:
            said = (*said, self.reader.entry)
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def record(
        self,
        images: Tensor,
        mode: TorchFunctionMode | None = None,
        *,
        scales: bool = False,
        attention: bool = False,
        twice: bool = True,
    ) -> Recorded:
        """Compute logits, features and head in one forward pass.

        Args:
            images: N x C x H x W in [0, 1].
            mode: a mode that replaces functions during the pass, such as ``SmoothRectifiers``.
            scales: also keep the finer feature maps, which takes memory.
            attention: also keep the matrices of attention, which takes memory. Attention is then computed without a
                fused kernel.
            twice: see ``run``.
        """
        tap, attended = FeatureTap(scales), AttentionTap()
        with ExitStack() as stack:
            # First, so that the other modes see each product as a whole.
            stack.enter_context(self.in_eights(images))
            if mode is not None:
                stack.enter_context(mode)
            if attention:
                stack.enter_context(attended)
            stack.enter_context(tap)
            if self.features is not None:
                named = stack.enter_context(tap_module(self.module, self.features))
            logits = self.run(images, twice=twice)
        source, axes = tap.found()  # in any case: it settles which tokens count as pooled
        runs = 1
        if self.features is not None:
            source, axes, runs = named[-1], order_of(named[-1]), len(named)
        sizes = tap.sizes[::-1]
        known = self.features is None and axes is None
        as_many = source is not None and source.ndim == 3 and 1 < len(images) == source.shape[0] == source.shape[1]
        if as_many and not known and axes in (None, "nlc"):
            axes = self._axes_of_lists(images)
        arrangement = None if source is None or known else arrangement_of(source, axes, sizes, images)
        features = source if source is None or arrangement is None else arrangement.maps(source)
        weight, bias, norm = _head(tap, features, logits)
        return Recorded(
            logits,
            features,
            weight,
            bias,
            _finer(tap, features),
            norm,
            None if arrangement is None else source,
            arrangement,
            _attended(attended, tap, sizes, images) if attention else None,
            runs,
        )

    def _axes_of_lists(self, images: Tensor) -> Axes:
        """Say if images or tokens come first where there are as many of both, by a pass of one image."""
        tap = FeatureTap(False)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(evaluating(self.module))  # batch norms of a network in training stay as they are
            stack.enter_context(tap)
            if self.features is not None:
                named = stack.enter_context(tap_module(self.module, self.features))
            self.output(self.normalise(images[:1]))
        source = named[-1] if self.features is not None else tap.found()[0]
        return "lnc" if source is not None and source.shape[0] == len(images) else "nlc"


def _attended(attended: AttentionTap, tap: FeatureTap, sizes: Sequence[tuple[int, int]], images: Tensor) -> Attended:
    """Collect the attention of a pass of ``images``.

    It has no arrangement if its matrices are larger or smaller than the number of an image's tokens: then they are
    between channels, or in windows.
    """
    matrices, found = attended.matrices, None
    if matrices:
        length, tokens = matrices[-1].shape[-1], tap.tokens
        if tokens is None or 0 <= length - tokens / len(images) <= MOST_EXTRA:
            found = places(length, sizes, (images.shape[2], images.shape[3]))
    return Attended(tuple(matrices), None if found is None else Arrangement("nlc", *found), tap.pooled)


def _head(
    tap: FeatureTap, features: Tensor | None, logits: Tensor
) -> tuple[Tensor | None, Tensor | None, AffineNorm | None]:
    """Return the weight, the bias and the norm before them of the last linear layer.

    Some networks have none: their last features have a channel for each class, whose mean over space is its logit
    (Network in Network, All-CNN, SqueezeNet). The weight is the identity, then.
    """
    if features is not None and features.ndim == 4 and not tap.headed:
        channels, classes = features.shape[1], logits.shape[1]
        if channels == classes or (channels, classes) == (1, 2):  # a single logit is made two
            return torch.eye(channels, dtype=logits.dtype, device=logits.device), None, None
    weight, bias = (None if part is None else full_precision(part) for part in (tap.weight, tap.bias))
    return weight, bias, tap.norm


def _finer(tap: FeatureTap, features: Tensor | None) -> tuple[Tensor, ...]:
    """The recorded feature maps that are finer than ``features``, finest first."""
    if features is None or features.ndim != 4:
        return ()
    height, width = features.shape[2:]
    larger = [size for size in tap.finer if size[0] > height and size[1] > width]
    return tuple(full_precision(tap.finer[size]) for size in sorted(larger, key=lambda s: s[0] * s[1], reverse=True))
