"""What is looked at: a classifier and images whose labels are in its order, as values, and opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from underfire.classifiers import Classifier, load
from underfire.classifiers.sources import Options, parse_size, parse_values
from underfire.data import ImageData, in_classifier_order, open_data
from underfire.errors import InputError, plain_words
from underfire.runs.selection import logits_of


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

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

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
        asked = Options(classes=self.classes).class_count
        classes = _class_count(classifier, data, asked)
        if asked is not None and asked != classes:
            raise InputError(
                f"classes is {self.classes} ({asked} classes), and {self.classifier} has {classes} outputs: leave "
                "--classes out, or take a network (or weights) with as many."
            )
        return Inputs(classifier, classes, in_classifier_order(data, classifier.class_names, classes, self.class_map))


def _class_count(classifier: Classifier, data: ImageData, asked: int | None) -> int:
    """The names' number; without names of the source's own, what comes out for the first images that can be read."""
    if classifier.class_names and asked is None:
        return len(classifier.class_names)
    for batch in data.batches(classifier.image_size, classifier.channels, 8, None, classifier.resizing):
        if batch.records:
            logits = logits_of(classifier, batch.images)
            return int(logits.shape[1])
    return asked or len(data.class_names)  # nothing can be read, which whoever reads the images says with the reasons


def _sentence(problem: Any) -> str:
    own = problem.get("ctx", {}).get("error")
    if isinstance(own, InputError):
        return str(own)
    name = ".".join(str(part) for part in problem["loc"])
    if name == "count" and problem["type"] == "greater_than_equal":
        return few_images(problem["input"])
    said = plain_words(problem["msg"]).replace("greater than or equal to", "at least")
    return f"{name} is {problem['input']!r}; {said[0].lower()}{said[1:]}."


def few_images(count: int) -> str:
    """What is wrong with ``count``, in the same words wherever images are counted."""
    return f"count is {count}; expected at least 1 image."
