"""The classifier under attack: a wrapper that leaves the user's network as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from underfire.batching import in_batches
from underfire.classifiers.conventions import ReversedChannels, in_unit_range, is_reversed
from underfire.classifiers.failures import check_weights
from underfire.classifiers.features import check_features
from underfire.classifiers.live import Live
from underfire.classifiers.modes import evaluating
from underfire.classifiers.outputs import LogitsReader
from underfire.classifiers.pixels import Pixels
from underfire.classifiers.prepared import Prepared, eager
from underfire.data.resizing import DEFAULT_RESIZING, Resizing
from underfire.errors import ClassifierError, InputError, warn
from underfire.numerics import judging

WHY_NO_GRADIENT = (
    "its forward cuts the graph, by detach(), torch.no_grad() or torch.inference_mode(), by .data, or on its way "
    "through NumPy; or it returns a choice, such as argmax, in place of scores. Take that out: the network needs no "
    "training mode, but gradients in its input."
)
"""The usual cause of logits without a gradient in the image, and the remedy, for error messages."""


class Classifier(Pixels):
    """A network that maps pixels in [0, 1], N x C x H x W, to logits N x K. Normalisation is inside.

    The network is never moved to another device or left in another mode, and its gradients, ``requires_grad`` flags and
    hooks are not changed. (What its own forward changes, such as a counter of calls, does change.) Every verdict comes
    from the network itself, in its own precision. Attacks run on the copy that ``prepare`` makes, or on ``live``.

    Args:
        module: any ``nn.Module``. The network inside a compiled module is used, because compiled code has no second
            derivative. Compiled modules and functions inside of it run eagerly, too. A network with one logit counts as
            one with two classes.
        mean: subtracted from pixels in [0, 1], one value per channel; None for a network that takes pixels in [0, 1].
        std: the divisor after that, one value per channel.
        image_size: height and width that images are resized to, or the side of a square; None keeps their size.
        resizing: how images are resized: length of the short side before the crop, and filter.
        channels: 1 (grey), 3 (RGB) or more; if None, the number that the network's first convolution takes.
        class_names: one name per logit.
        features: name of the module whose output are the last convolutional features. They are found automatically in
            networks that pool or flatten them (ResNet, DenseNet, VGG, MobileNet, EfficientNet, ConvNeXt and similar).
        output: the key, attribute or number of the logits in what the network returns. If None: the tensor that it
            returns; the entry ``logits``, ``out``, ``output`` or ``pred``; or the first of several, if it is N x K.
            Dimensions of length 1 may be missing.
        name: the name of the classifier in results; the name of its class if None.
        notes: sentences about its loading that a reader of the results should know.
        bounds: the smallest and the largest pixel that the network takes, such as (-1, 1) or (0, 255); (0, 1) if None.
            ``mean`` and ``std`` are in these units then, and without them the network takes the pixels as they are.
        channel_order: ``bgr`` for a network that takes blue before red, as OpenCV reads images; ``mean`` and ``std``
            are in this order, too. The attributes ``mean`` and ``std`` are for pixels in [0, 1], red first.

    Raises:
        InputError: mean, std, bounds, channels, image_size or class_names are impossible, or no module has the name
            ``features``.
        ClassifierError: ``module`` is no ``nn.Module``, a scripted one, or one that computes with integers; or one of
            its weights has no values, or is sparse.
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
        output: str | int | None = None,
        name: str | None = None,
        notes: Sequence[str] = (),
        bounds: tuple[float, float] | None = None,
        channel_order: str | None = None,
    ) -> None:
        module = _checked(module)
        channels = first_channels(module) if channels is None else channels
        _check_channels(channels)
        mean, std = in_unit_range(mean, std, bounds, channels)
        if features is not None:
            check_features(module, features)
        own_name = type(module).__name__
        if is_reversed(channel_order, channels):
            module = ReversedChannels(module)
            mean, std = (None if values is None else tuple(values)[::-1] for values in (mean, std))
            features = None if features is None else f"module.{features}"
        entry = None if output is None else str(output)
        class_names = None if class_names is None else _names(class_names)
        classes = None if class_names is None else len(class_names)
        super().__init__(module, mean, std, features, LogitsReader(entry, classes))
        self.image_size = _sides(image_size)
        if not isinstance(resizing, Resizing):
            raise InputError(f"resizing is {resizing!r:.80}; expected a Resizing, such as Resizing(256, 'bilinear').")
        resizing.check(self.image_size)
        self.resizing = resizing
        self.channels = channels
        self.class_names = class_names
        self.name = name or own_name
        self.notes = tuple(notes)

    def preparation(self) -> dict[str, Any]:
        """Return the preparation of images as JSON values, for the records of runs and trainings."""
        to = self.resizing.to
        return {
            "image_size": None if self.image_size is None else list(self.image_size),
            "resize": list(to) if isinstance(to, tuple) else to,
            "interpolation": self.resizing.interpolation,
            "channels": self.channels,
            "mean": None if self.mean is None else list(self.mean),
            "std": None if self.std is None else list(self.std),
        }

    def evaluating(self) -> AbstractContextManager[None]:
        """Context with the network in evaluation mode; afterwards each of its modules has its own mode again."""
        return evaluating(self.module)

    def forward(self, images: Tensor) -> Tensor:
        with self.evaluating():
            return self.run(images)

    def logits(self, images: Tensor, batch_size: int = 64) -> Tensor:
        """Compute the logits N x K that verdicts are based on: float32, without a graph, on the images' device.

        Args:
            images: N x C x H x W in [0, 1].
            batch_size: images at once.

        Raises:
            InputError: ``images`` are no floating-point tensor or empty, or ``batch_size`` is less than 1.
        """
        if not isinstance(images, Tensor) or not images.is_floating_point() or images.ndim != 4 or not len(images):
            given = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
            raise InputError(
                f"images is {given}; expected a floating-point tensor N x C x H x W with pixels in "
                "[0, 1]. For 8-bit values: images.float() / 255."
            )

        def run(chunk: Tensor) -> Tensor:
            return self.run(chunk.to(self.device)).float().to(chunk.device)

        with self.evaluating(), judging(self.device), torch.no_grad():
            return in_batches(run, images, batch_size=batch_size, device=self.device)

    def prepare(
        self, precision: str = "float32", *, in_place: bool = True, size: Sequence[int] | None = None
    ) -> Prepared:
        """Make the frozen, fast copy that attacks run on.

        Args:
            precision: ``float32``, ``tf32``, ``bf16`` or ``float64``; see ``numerics.PRECISIONS``.
            in_place: let activations work in place; False if rectifiers will be smoothed.
            size: height and width of the images to come; the classifier's ``image_size``, or 64 x 64, if None.

        Raises:
            InputError: the precision is unknown.
            ClassifierError: the network cannot be copied, or its copy gives other logits.
        """
        height, width = size or self.image_size or (64, 64)
        with self.evaluating():
            return Prepared(self, precision, in_place, (height, width), self.channels)

    def live(self) -> Live:
        """Return the network itself, without a copy, in the form that attacks use: for attacks while it is trained."""
        return Live(self)

    def __repr__(self) -> str:
        return f"Classifier({self.name}, image_size={self.image_size}, channels={self.channels})"


def _checked(module: nn.Module) -> nn.Module:
    """Check that ``module`` is a network that can be attacked, and return the plain network inside it."""
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
    network = eager(module)
    inner = module.module if isinstance(module, nn.DataParallel) else module
    if network is not inner or getattr(inner, "_compiled_call_impl", None) is not None:
        warn(
            "module is compiled (torch.compile), and compiled code has no second derivative: "
            "the eager network inside it is used instead."
        )
    check_weights(network)
    return network


def first_channels(module: nn.Module) -> int:
    """Return the number of channels that the first convolution of ``module`` takes; 3 if there is no convolution."""
    convolution = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    return 3 if convolution is None else convolution.in_channels


def _sides(size: Any) -> tuple[int, int] | None:
    """Convert ``image_size``, a side or (height, width), to (height, width). Raises InputError if it is neither."""
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


def _names(names: Any) -> tuple[str, ...]:
    """Return ``class_names`` as a tuple. Raises InputError if it is no list of names, such as a text or a mapping."""
    if not isinstance(names, Iterable) or isinstance(names, str | bytes | Mapping):
        by_number = isinstance(names, Mapping) and not all(isinstance(key, str) for key in names)
        hint = f" Use list(names{'.values()' if by_number else ''})." if isinstance(names, Mapping) else ""
        raise InputError(f"class_names is {names!r:.80}; expected a list of names, one per logit.{hint}")
    return tuple(names)


def _check_channels(channels: Any) -> None:
    if not isinstance(channels, Integral) or int(channels) < 1:
        raise InputError(f"channels is {channels!r}; expected a positive whole number, such as 1 (grey) or 3 (RGB).")
