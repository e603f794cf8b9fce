"""What is looked at: a classifier and images whose labels are in its order, as values, and opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from underfire.campaigns.selection import logits_of
from underfire.classifiers import Classifier, load
from underfire.classifiers.sources import parse_size, parse_values
from underfire.data import ImageData, in_classifier_order, open_data
from underfire.errors import InputError


@dataclass(frozen=True)
class Inputs:
    """A classifier on its device, its number of classes, and data with labels in its order."""

    classifier: Classifier
    classes: int
    data: ImageData


class InputConfig(BaseModel):
    """Which images, which classifier, and what the user says about it; see ``underfire.classifiers.load``.

    ``class_map`` is a file that says which class each class name of the data stands for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    classifier: str
    weights: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image_size: tuple[int, int] | None = None
    resize: int | None = Field(None, ge=1)
    interpolation: str | None = None
    channels: int | None = None
    classes: str | None = None
    features: str | None = None
    class_map: str | None = None

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _parse_values(cls, value: Any, info: Any) -> Any:
        return parse_values(info.field_name, value) if isinstance(value, str) else value

    @field_validator("image_size", mode="before")
    @classmethod
    def _parse_size(cls, value: Any) -> Any:
        return parse_size(value) if isinstance(value, str) else value

    @classmethod
    def create(cls, **values: Any) -> Self:
        """A checked configuration. Raises InputError, one sentence per problem."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise InputError(" ".join(_sentence(problem) for problem in error.errors())) from error

    def open(self, device: torch.device) -> Inputs:
        """The classifier on ``device``, and the data with its labels in the classifier's order.

        Raises:
            UnderfireError: one of them cannot be had, or the classes cannot be told apart; see the messages.
        """
        data = open_data(self.data)
        classifier = load(
            self.classifier,
            weights=self.weights,
            mean=self.mean,
            std=self.std,
            image_size=self.image_size,
            resize=self.resize,
            interpolation=self.interpolation,
            channels=self.channels,
            classes=self.classes,
            features=self.features,
        )
        classifier.module.to(device)
        classes = _class_count(classifier, data)
        return Inputs(classifier, classes, in_classifier_order(data, classifier.class_names, classes, self.class_map))


def _class_count(classifier: Classifier, data: ImageData) -> int:
    """The names' number; without names, what comes out for the first images that can be read."""
    if classifier.class_names:
        return len(classifier.class_names)
    for batch in data.batches(classifier.image_size, classifier.channels, 8, None, classifier.resizing):
        if batch.records:
            logits = logits_of(classifier, batch.images)
            return int(logits.shape[1])
    return len(data.class_names)  # nothing can be read, which whoever reads the images says with the reasons


def _sentence(problem: Any) -> str:
    own = problem.get("ctx", {}).get("error")
    if isinstance(own, InputError):
        return str(own)
    return f"{'.'.join(str(part) for part in problem['loc'])} is {problem['input']!r}: {problem['msg']}."
