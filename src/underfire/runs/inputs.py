"""The inputs of a command: a classifier, and images with labels in its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch

from underfire.classifiers import Classifier, load
from underfire.classifiers.conventions import parse_bounds
from underfire.classifiers.sources import Options, parse_size, parse_values
from underfire.data import ImageData, in_classifier_order, open_data
from underfire.data.sources import open_images
from underfire.errors import InputError
from underfire.runs.predicted import PredictedData
from underfire.runs.selection import read_logits_of
from underfire.settings import create, setting, to_values

PANEL = "Details of the classifier that its source does not give"
PREDICTED = "predicted"
DATA_PANEL = "Details of the data that its files do not give"


@dataclass(frozen=True)
class Inputs:
    """A classifier on its device, its number of classes, and data with labels in its order."""

    classifier: Classifier
    classes: int
    data: ImageData


def _own(help: str, metavar: str, **described: Any) -> Any:
    return setting(help, metavar, value=None, panel=PANEL, **described)


def _of_data(help: str, metavar: str, **described: Any) -> Any:
    return setting(help, metavar, value=None, panel=DATA_PANEL, **described)


def _mean(text: str) -> tuple[float, ...]:
    return parse_values("mean", text)


def _std(text: str) -> tuple[float, ...]:
    return parse_values("std", text)


def _labels(text: str) -> str:
    if text != PREDICTED:
        raise InputError(f"labels is {text!r}; expected {PREDICTED}, or leave it out for the labels of the data.")
    return text


@dataclass(frozen=True, kw_only=True)
class InputSettings:
    """The images, the classifier, and the user's options for it; see ``underfire.classifiers.load``.

    Args:
        data: where images come from; see ``underfire.data.open_data``.
        classifier: the classifier's name.
        class_map: a file that says which class each class name of the data stands for.
        labels: "predicted" to take the classifier's own predictions; see ``PredictedData``.
    """

    data: str = setting(
        "A folder with one subfolder of images per class, a .csv file of images and labels (or the folder with it), a "
        ".parquet file, the files of a publisher, or a built-in set: photos, scenes:test, scenes:train, digits:test, "
        "digits:train.",
        "DATA",
    )
    classifier: str = setting(
        "A shipped name (see 'underfire list'), file.py:function, torchvision:NAME, timm:NAME, or hf: with a folder or "
        "name. ':random' at the end takes random weights.",
        "NAME",
    )
    weights: str | None = _own(
        "A file or folder of weights (.pt, .pth, .ckpt, .safetensors, ...), 'random', or a set of torchvision's "
        "weights, such as IMAGENET1K_V2.",
        "FILE",
    )
    weights_key: str | None = _own(
        "Which of several sets of weights in the file is taken: the first part of its names, such as model_ema.",
        "KEY",
        default="the set that fits best",
    )
    mean: tuple[float, ...] | None = _own(
        "Mean that is subtracted from pixels in [0, 1], one per channel, such as 0.485,0.456,0.406; give --std, too.",
        "X,...",
        default="the source's, or none",
        kind=tuple[float, ...],
        parse=_mean,
    )
    std: tuple[float, ...] | None = _own(
        "The divisor after --mean, one per channel, such as 0.229,0.224,0.225.",
        "X,...",
        default="the source's, or none",
        kind=tuple[float, ...],
        parse=_std,
    )
    image_size: tuple[int, int] | None = _own(
        "Height and width that images are resized and cropped to: 224, or HEIGHTxWIDTH.",
        "SIZE",
        kind=tuple[int, int],
        parse=parse_size,
        default="the source's, or the images' own",
    )
    resize: int | None = _own("Length of the short side, in pixels, before the crop.", "N", kind=int, least=1)
    interpolation: str | None = _own(
        "Resizing filter: bicubic, bilinear, nearest, lanczos, box or hamming.",
        "NAME",
        default="the source's, or bicubic",
    )
    channels: int | None = _own(
        "Channels of the images: 1 (grey), 3 (RGB) or more.",
        "N",
        kind=int,
        default="as many as the first convolution takes",
    )
    bounds: tuple[float, float] | None = _own(
        "The smallest and the largest pixel that the network takes: --bounds=-1,1 or 0,255. --mean and --std are in "
        "these units, then.",
        "LOW,HIGH",
        default="0,1",
        kind=tuple[float, float],
        parse=parse_bounds,
    )
    channel_order: str | None = _own(
        "The order of colours that the network takes: rgb, or bgr (blue before red, as OpenCV reads images).",
        "ORDER",
        default="rgb",
    )
    classes: str | None = _own("The number of classes, or a text file with one class name per line.", "N")
    features: str | None = _own("Name of the module that puts out the last convolutional features: layer4.", "MODULE")
    output: str | None = _own(
        "Key or number of the logits in what the network returns, if that is a dict or tuple: logits, or 0.",
        "KEY",
        default="found where there is no doubt",
    )
    class_map: str | None = _own("JSON or CSV file: the classifier's class for each class name of the data.", "FILE")
    labels: str | None = _of_data(
        "predicted: the class that the classifier gives an image counts as its own, so that nobody need know it.",
        "WHICH",
        parse=_labels,
        default="those of the data",
    )
    file_column: str | None = _of_data(
        "The column that names the image files, in a table.", "NAME", default="one of the usual names"
    )
    label_column: str | None = _of_data(
        "The column that holds the classes, in a table.", "NAME", default="one of the usual names"
    )
    split: str | None = _of_data("The part of the data to take, such as train, val or test.", "NAME")
    class_level: int | None = _of_data(
        "How many folders below DATA the class is named: 1 for DATA/class/image.", "N", kind=int, least=1
    )
    white: float | None = _of_data(
        "The value of white in images of more than 8 bits, such as 4095 for 12 bits.",
        "X",
        kind=float,
        default="by the values of the images",
    )

    @classmethod
    def create(cls, **values: Any) -> Self:
        """Make checked settings from texts or values; former names work, and warn.

        Raises:
            InputError: one sentence for each problem.
        """
        return create(cls, values, warn=True)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """Make checked settings from the values of a file; files of earlier versions with former names work, too.

        Raises:
            InputError: one sentence for each problem.
        """
        return create(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as JSON values."""
        return to_values(self)

    def load_classifier(self, device: torch.device) -> Classifier:
        """Load the classifier onto ``device``."""
        classifier = load(
            self.classifier,
            weights=self.weights,
            weights_key=self.weights_key,
            mean=self.mean,
            std=self.std,
            image_size=self.image_size,
            resize=self.resize,
            interpolation=self.interpolation,
            channels=self.channels,
            bounds=self.bounds,
            channel_order=self.channel_order,
            classes=self.classes,
            features=self.features,
            output=self.output,
        )
        classifier.module.to(device)
        return classifier

    def open_data(self, unlabelled: bool = False) -> ImageData:
        """Open the data, with labels in their own order. Arguments and errors as in ``underfire.data.open_data``."""
        open_them = open_images if self.labels == PREDICTED else partial(open_data, unlabelled=unlabelled)
        return open_them(
            self.data,
            file_column=self.file_column,
            label_column=self.label_column,
            split=self.split,
            class_level=self.class_level,
            white=self.white,
        )

    def need_labels(self, why: str) -> None:
        """Refuse predicted labels, where the labels must say what is right; ``why`` says who needs them for what."""
        if self.labels == PREDICTED:
            raise InputError(f"labels is {PREDICTED!r}, but {why}: leave it out, and give data with labels.")

    def open(self, device: torch.device, unlabelled: bool = False) -> Inputs:
        """Open the classifier on ``device``, and the data with labels in the classifier's order.

        Args:
            device: the device that the classifier is moved to.
            unlabelled: the data may be images without classes; see ``UnlabelledData``.

        Raises:
            UnderfireError: one of them cannot be opened, or the classes cannot be told apart; see the messages.
        """
        data = self.open_data(unlabelled)
        classifier = self.load_classifier(device)
        asked = Options(classes=self.classes).class_count
        classes = _class_count(classifier, data, asked)
        if asked is not None and asked != classes:
            raise InputError(
                f"classes is {self.classes} ({asked} classes), and {self.classifier} has {classes} outputs: leave "
                "--classes out, or take a network (or weights) with as many."
            )
        if self.class_map is not None and (self.labels == PREDICTED or not data.class_names):
            why = "the labels of the data do not count" if data.class_names else "the images have no class names to map"
            raise InputError(f"class-map is {self.class_map!r}, but {why}; leave it out.")
        if self.labels == PREDICTED:
            return Inputs(classifier, classes, PredictedData(data, classifier, classes))
        if not data.class_names:
            return Inputs(classifier, classes, data)
        return Inputs(classifier, classes, in_classifier_order(data, classifier.class_names, classes, self.class_map))


def _class_count(classifier: Classifier, data: ImageData, asked: int | None) -> int:
    """Count the classes: the names of the source, or the outputs for the first images that can be read."""
    if classifier.class_names and asked is None:
        return len(classifier.class_names)
    for batch in data.batches(classifier.image_size, classifier.channels, 8, None, classifier.resizing):
        if batch.records:
            logits, _ = read_logits_of(classifier, batch.images)
            return int(logits.shape[1])
    return asked or len(data.class_names)  # nothing can be read; the selection of images gives the reasons
