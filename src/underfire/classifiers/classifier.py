"""The classifier under attack: the user's network, left exactly as it was found."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from underfire.batching import in_batches
from underfire.classifiers.features import check_features
from underfire.classifiers.pixels import Pixels
from underfire.classifiers.prepared import Prepared
from underfire.data.resizing import DEFAULT_RESIZING, Resizing
from underfire.errors import ClassifierError, InputError, UnderfireWarning

WHY_NO_GRADIENT = (
    "its forward cuts the graph, by detach(), torch.no_grad() or torch.inference_mode(), by .data, or on its way "
    "through NumPy. Take that out: the network needs no training mode, but gradients in its input."
)
"""Why the logits of a network cannot be differentiated in the image, and what helps."""


class Classifier(Pixels):
    """A frozen network: pixels in [0, 1], N x C x H x W -> logits N x K. Normalisation is inside.

    The network is never moved to another device, never left in another mode, and its gradients, ``requires_grad``
    flags and hooks are not touched. Every verdict comes from it, in its own precision; attacks run on the copy that
    ``prepare`` makes.

    Args:
        module: any ``nn.Module``. A compiled module is unwrapped, since it has no second derivative. A network with
            a single logit counts as one with two classes.
        mean: what is subtracted from the network's input, one value per channel; None where it takes pixels in [0, 1].
        std: what the input is divided by then, one value per channel.
        image_size: height and width that images are prepared to; None takes images as they are.
        resizing: how images come to that size: length of the short side before the crop, and filter.
        channels: 1 or 3; where None, what the network's first convolution takes.
        class_names: one name per logit.
        features: name of the module whose output are the last convolutional features. Found by itself on networks
            that pool or flatten them (ResNet, DenseNet, VGG, MobileNet, EfficientNet, ConvNeXt and their like).
        name: what results call this classifier.

    Raises:
        InputError: for values of mean, std, channels or image_size that cannot be, or for features that no
            module is called.
        ClassifierError: for something that is not an ``nn.Module``, or a scripted one.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        image_size: tuple[int, int] | int | None = None,
        resizing: Resizing = DEFAULT_RESIZING,
        channels: int | None = None,
        class_names: Sequence[str] | None = None,
        features: str | None = None,
        name: str | None = None,
    ) -> None:
        module = _eager(module)
        channels = first_channels(module) if channels is None else channels
        _check(mean, std, channels)
        if features is not None:
            check_features(module, features)
        super().__init__(module, mean, std, features)
        self.image_size = _sides(image_size)
        resizing.check(self.image_size)
        self.resizing = resizing
        self.channels = channels
        self.class_names = None if class_names is None else tuple(class_names)
        self.name = name or type(module).__name__

    @property
    def device(self) -> torch.device:
        """Where the network is; images go there."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return tensors[0].device if tensors else torch.device("cpu")

    def preparation(self) -> dict[str, Any]:
        """How images are prepared for it, as JSON values: part of a run's record."""
        to = self.resizing.to
        return {
            "image_size": None if self.image_size is None else list(self.image_size),
            "resize": list(to) if isinstance(to, tuple) else to,
            "interpolation": self.resizing.interpolation,
            "channels": self.channels,
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
        }

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The network in evaluation mode; each of its modules is put back into its own mode afterwards."""
        modes = [(module, module.training) for module in self.module.modules()]
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, training in modes:
                module.training = training

    def convert(self, normalised: Tensor) -> Tensor:
        """In the precision that the network's weights are in."""
        return normalised.to(next((weight.dtype for weight in self.module.parameters()), normalised.dtype))

    def forward(self, images: Tensor) -> Tensor:
        with self.evaluating():
            return self.run(images)

    def logits(self, images: Tensor, batch_size: int = 64) -> Tensor:
        """Honest logits N x K (float32, on the images' device) without a graph, in batches of ``batch_size``."""

        def run(chunk: Tensor) -> Tensor:
            return self.run(chunk.to(self.device)).float().to(chunk.device)

        with self.evaluating(), torch.no_grad():
            return in_batches(run, images, batch_size=batch_size)

    def prepare(
        self, precision: str = "float32", *, in_place: bool = True, size: Sequence[int] | None = None
    ) -> Prepared:
        """The frozen fast copy for attacks: see ``Prepared``. ``size``: height and width of the images to come; the
        classifier's own ``image_size`` where None."""
        height, width = size or self.image_size or (64, 64)
        with self.evaluating():
            return Prepared(self, precision, in_place, (height, width))

    def __repr__(self) -> str:
        return f"Classifier({self.name}, image_size={self.image_size}, channels={self.channels})"


def _eager(module: nn.Module) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise ClassifierError(
            f"module is an object of type {type(module).__name__}; expected a torch.nn.Module that maps images to "
            "logits. A function that builds one must be called first."
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise ClassifierError(
            "module is scripted (torch.jit): neither its activations nor its features can be reached. "
            "Pass the eager network that was scripted."
        )
    if isinstance(module, nn.DataParallel):
        module = module.module
    eager = getattr(module, "_orig_mod", module)
    if eager is not module or getattr(module, "_compiled_call_impl", None) is not None:
        warnings.warn(
            "module is compiled (torch.compile), and compiled code has no second derivative: "
            "the eager network inside it is used instead.",
            UnderfireWarning,
            stacklevel=3,
        )
    assert isinstance(eager, nn.Module)
    return eager


def first_channels(module: nn.Module) -> int:
    """Channels that the first convolution of ``module`` takes, 1 or 3; 3 where there is none, or it takes others."""
    convolution = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    return 1 if convolution is not None and convolution.in_channels == 1 else 3


def _sides(size: Any) -> tuple[int, int] | None:
    """Height and width of ``image_size`` as it is given. Raises InputError."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, Integral) else size
    if (
        not isinstance(sides, Sequence)
        or len(sides) != 2
        or not all(isinstance(s, Integral) and int(s) > 0 for s in sides)
    ):
        raise InputError(f"image_size is {size!r}; expected a positive whole number, or height and width.")
    return int(sides[0]), int(sides[1])


def _check(mean: Sequence[float] | None, std: Sequence[float] | None, channels: int) -> None:
    if channels not in (1, 3):
        raise InputError(f"channels is {channels}; expected 1 (grey) or 3 (RGB).")
    if (mean is None) != (std is None):
        raise InputError("mean and std come together: give both, or neither for a network that takes pixels in [0, 1].")
    if mean is None or std is None:
        return
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, Iterable) or not all(math.isfinite(value) for value in values):
            raise InputError(f"{name} is {values!r}; expected {channels} numbers, one per channel, such as (0.5, ...).")
    if len(mean) != channels or len(std) != channels:
        raise InputError(f"mean has {len(mean)} and std {len(std)} values; expected {channels}, one per channel.")
    if min(std) <= 0:
        raise InputError(f"std is {tuple(std)}; expected positive values.")
    if max(mean) > 1 or max(std) > 1:
        raise InputError(
            f"mean {tuple(mean)} and std {tuple(std)} go beyond 1: they look like values for pixels in 0..255. "
            "Pixels are in [0, 1] here: divide both by 255."
        )
