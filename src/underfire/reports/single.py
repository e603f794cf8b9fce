"""A single image file as a data set without labels."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch

from underfire.classifiers import Classifier
from underfire.data import ImageData, Record
from underfire.data.decode import IMAGE_SUFFIXES, decode_file, read_bytes
from underfire.data.pixels import Picture
from underfire.errors import InputError
from underfire.runs.inputs import InputSettings

NO_LABEL = -1
"""The label of images without a label."""


class SingleImage(ImageData):
    """The data set of one image file. The image's id is the file's name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 1

    def record(self, index: int) -> Record:
        self._checked(index)
        return Record(self.path.name, str(self.path), NO_LABEL)

    def read(self, index: int) -> Picture:
        self._checked(index)
        return decode_file(self.path)

    def fingerprint(self) -> str:
        return hashlib.sha256(read_bytes(self.path)).hexdigest()


def open_images(config: InputSettings, device: torch.device) -> tuple[ImageData, Classifier]:
    """Open data and classifier. In contrast to ``config.open``, ``config.data`` may also be one image file.

    Args:
        config: the names of data and classifier, with their options.
        device: the device that the classifier is moved to.

    Raises:
        InputError: a class map is given for one image.
        UnderfireError: data or classifier cannot be opened, as in ``config.open``.
    """
    path = Path(os.path.expanduser(config.data))
    if path.suffix.lower() not in IMAGE_SUFFIXES or not os.path.isfile(path):
        inputs = config.open(device)
        return inputs.data, inputs.classifier
    if config.class_map is not None:
        raise InputError(f"class-map is {config.class_map!r}, but {path} is one image, which has no class name to map.")
    single = SingleImage(path)
    single.white = config.white
    return single, config.load_classifier(device)
