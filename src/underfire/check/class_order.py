"""Compare the order of the data's labels with the order of the classifier's classes, from its predictions alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire import metrics


@dataclass(frozen=True)
class ClassOrder:
    """Another order of the classes, and the share of the predictions that are right under it."""

    description: str
    accuracy: float


def accuracy_interval(right: int, count: int) -> tuple[float, float]:
    """Compute the 95 % interval of an accuracy (Wilson 1927); (0, 1) if ``count`` is 0."""
    found = metrics.rate([True] * right + [False] * (count - right))
    return (0.0, 1.0) if found.low is None or found.high is None else (found.low, found.high)


def better_order(predicted: Tensor, labels: Tensor, classes: int, names: Sequence[str] = ()) -> ClassOrder | None:
    """Find a well-known mistake in the order of the classes that explains the predictions far better.

    Shifted labels, numbers sorted as text, names sorted alphabetically and a reversed order are tried. "Far better"
    means that the interval of the accuracy lies above that of the labels as they are, and that at least half of the
    images are right.

    Args:
        predicted: the predicted classes, int64 N.
        labels: the labels of the data, int64 N.
        classes: the number of classes.
        names: the classifier's class names; empty if it has none.

    Returns:
        The best such order; None if none is far better.
    """
    count = len(labels)
    _, bound = accuracy_interval(int((predicted == labels).sum()), count)
    best: ClassOrder | None = None
    for description, order in _candidates(classes, names):
        right = int((predicted == order[labels]).sum())
        low, _ = accuracy_interval(right, count)
        if low > bound and 2 * right >= count and (best is None or right / count > best.accuracy):
            best = ClassOrder(description, right / count)
    return best


def _candidates(classes: int, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield each known mistake: its description, and the class that each label means if it was made (int64 K)."""
    numbers = torch.arange(classes)
    yield "the labels look shifted by one: they count from 1", (numbers - 1) % classes
    yield "the labels look shifted by one: the classifier counts from 1", (numbers + 1) % classes
    text = torch.tensor(sorted(range(classes), key=str))
    yield "the classes look sorted as text (0, 1, 10, 11, ..., 2), not as numbers", text
    yield "the classifier's classes look sorted as text (0, 1, 10, 11, ..., 2), not as numbers", text.argsort()
    if len(names) == classes:
        alphabet = torch.tensor(sorted(range(classes), key=lambda number: names[number].casefold()))
        yield "the data's classes look sorted by the alphabet, and the classifier's are not", alphabet
    yield "the order of the classes looks reversed", classes - 1 - numbers


@dataclass(frozen=True)
class LabelAgreement:
    """The degree to which images of one label get one and the same prediction.

    Args:
        share: the share of images whose prediction is the most frequent one among the *other* images of their label.
        count: the number of images that have another image of their label to be compared with.
        pairs: (label, predicted class) for labels whose most frequent prediction is another class; the most frequent
            first.
        one_to_one: True if at least two labels have a prediction that most of their images share, and no two labels
            have the same. Only then do the predictions look like another order of the classes.
    """

    share: float
    count: int
    pairs: list[tuple[int, int]]
    one_to_one: bool = False


def label_agreement(predicted: Tensor, labels: Tensor) -> LabelAgreement:
    """Measure if images of one label get the same prediction, right or wrong, as under some unknown order of classes.

    Each image is compared with the other images of its label, so that a single image proves nothing.

    Args:
        predicted, labels: int64 N.
    """
    agreed = count = 0
    pairs: list[tuple[int, int, int]] = []
    clear: list[int] = []
    for label in sorted(set(labels.tolist())):
        own = predicted[labels == label].tolist()
        if len(own) < 2:
            continue
        for index, mine in enumerate(own):
            others = own[:index] + own[index + 1 :]
            agreed += mine == max(sorted(set(others)), key=others.count)
            count += 1
        commonest = max(sorted(set(own)), key=own.count)
        if 2 * own.count(commonest) > len(own):
            clear.append(commonest)
        if commonest != label:
            pairs.append((-own.count(commonest), label, commonest))
    one_to_one = len(clear) >= 2 and len(set(clear)) == len(clear)
    share = agreed / count if count else 0.0
    return LabelAgreement(share, count, [(label, other) for _, label, other in sorted(pairs)], one_to_one)
