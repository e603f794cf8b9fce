"""The options that users give for a classifier, and the description that a source gives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from underfire.classifiers.conventions import check_bounds
from underfire.data.resizing import DEFAULT_RESIZING, Resizing
from underfire.errors import InputError

WEIGHTS_SUFFIXES = (".pt", ".pth", ".th", ".bin", ".ckpt", ".tar", ".safetensors", ".index.json")


@dataclass(frozen=True)
class Options:
    """The user's options for a classifier. None leaves the choice to the source.

    Args:
        weights: a file or folder of weights, ``random``, or the source's name of a set of weights.
        weights_key: the leading part of the names of the weights to take from that file.
        mean, std: normalisation of pixels in [0, 1], one value per channel.
        image_size: (height, width) of the network's images.
        resize: length of the short side before the crop to ``image_size``.
        interpolation: the filter for resizing.
        channels: the number of channels.
        bounds: the smallest and the largest pixel that the network takes, if they are not 0 and 1.
        channel_order: ``rgb`` or ``bgr``.
        classes: the number of classes, or a file with one class name per line.
        features: name of the module with the last convolutional features.
        output: the entry of the network's output that holds the logits.
    """

    weights: str | None = None
    weights_key: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: tuple[int, int] | None = None
    resize: int | None = None
    interpolation: str | None = None
    channels: int | None = None
    bounds: tuple[float, float] | None = None
    channel_order: str | None = None
    classes: str | None = None
    features: str | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        if self.weights_key is not None and self.file is None:
            raise InputError(
                f"weights-key is {self.weights_key!r}, and weights is {self.weights!r}; expected a file of weights, in "
                "which the key names one of several sets."
            )
        if self.bounds is not None:
            check_bounds(self.bounds)
        if (self.mean is None) != (self.std is None):
            given, other = ("std", "mean") if self.mean is None else ("mean", "std")
            raise InputError(
                f"{given} is {getattr(self, given)}, and {other} is not given: give both, or neither to take those of "
                "the source."
            )

    @property
    def file(self) -> Path | None:
        """The file or folder of weights; None if ``weights`` is none. Raises InputError if the file does not exist."""
        if self.weights is None:
            return None
        path = Path(self.weights).expanduser()
        if not self.weights.lower().endswith(WEIGHTS_SUFFIXES) and not os.path.exists(path):
            return None
        if not os.path.exists(path):
            raise InputError(f"weights file {self.weights!r} does not exist (looked in {Path.cwd()}).")
        return path

    @property
    def pretrained(self) -> bool:
        """True if the source's own weights are wanted, and not random ones or a file."""
        return self.weights != "random" and self.file is None

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The class names in the file ``classes``; None if it is no file. Raises InputError if it cannot be read."""
        if self.classes is None or self.classes.isdecimal():
            return None
        try:
            lines = Path(self.classes).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"classes is {self.classes!r}; expected a number, or a text file with one class name per line: {error}"
            ) from error
        return tuple(line.strip() for line in lines if line.strip())

    @property
    def class_count(self) -> int | None:
        """The number of classes; None if the user does not say. Raises InputError if it is below 1."""
        names = self.class_names
        if names is None and self.classes is not None and int(self.classes) < 1:
            raise InputError(f"classes is {self.classes}; expected at least 1.")
        return len(names) if names is not None else int(self.classes) if self.classes else None


@dataclass(frozen=True)
class Source:
    """A network as its source describes it.

    Args:
        module: the network, with its weights.
        name: the name of the classifier in results.
        mean, std: normalisation of pixels in [0, 1]; None if the network takes such pixels.
        image_size: height and width that images are resized to; None if their size does not matter.
        resizing: how images are resized.
        channels: the number of channels; None for as many as the first convolution takes.
        class_names: one name per logit, if known.
        features: name of the module with the last convolutional features; found automatically if None.
        output: the entry of the network's output that holds the logits; found automatically if None.
        notes: sentences about the loading that a reader of the results should know.
    """

    module: nn.Module
    name: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: tuple[int, int] | None = None
    resizing: Resizing = DEFAULT_RESIZING
    channels: int | None = None
    class_names: tuple[str, ...] | None = None
    features: str | None = None
    output: str | None = None
    notes: tuple[str, ...] = ()


def parse_size(text: str) -> tuple[int, int]:
    """Read a size: ``224`` for a square, or ``37x53`` for height x width. Raises InputError."""
    parts = text.lower().split("x")
    if not all(part.strip().isdecimal() and int(part) for part in parts) or len(parts) > 2:
        raise InputError(f"image-size is {text!r}; expected 224, or HEIGHTxWIDTH such as 37x53.")
    sides = [int(part) for part in parts]
    return sides[0], sides[-1]


def parse_values(name: str, text: str) -> tuple[float, ...]:
    """Read numbers separated by commas, one per channel. Raises InputError."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{name} is {text!r}; expected one number per channel, such as 0.485,0.456,0.406.") from error
    return values
