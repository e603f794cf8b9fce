"""One image file, as data without a label."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from PIL import Image

from underfire.classifiers import Classifier
from underfire.data import ImageData, Record
from underfire.data.decode import IMAGE_SUFFIXES, decode_image, read_bytes
from underfire.errors import InputError
from underfire.runs.inputs import InputSettings

NO_LABEL = -1


class SingleImage(ImageData):
    """The image in the file at ``path``; its id is the file's name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 1

    def record(self, index: int) -> Record:
        self._checked(index)
        return Record(self.path.name, str(self.path), NO_LABEL)

    def read(self, index: int) -> Image.Image:
        self._checked(index)
        return decode_image(read_bytes(self.path), str(self.path))

    def fingerprint(self) -> str:
        return hashlib.sha256(read_bytes(self.path)).hexdigest()


def open_images(config: InputSettings, device: torch.device) -> tuple[ImageData, Classifier]:
    """What ``config`` names, where its ``data`` may also be one image file; the classifier is on ``device``.

    Raises:
        UnderfireError: as ``open`` does.
    """
    path = Path(os.path.expanduser(config.data))
    if path.suffix.lower() not in IMAGE_SUFFIXES or not os.path.isfile(path):
        inputs = config.open(device)
        return inputs.data, inputs.classifier
    if config.class_map is not None:
        raise InputError(f"class-map is {config.class_map!r}, but {path} is one image, which has no class name to map.")
    return SingleImage(path), config.load_classifier(device)
