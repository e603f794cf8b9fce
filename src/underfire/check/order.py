"""Are the labels in the classifier's class order? Pure functions on predictions and labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire import metrics


@dataclass(frozen=True)
class Fit:
    """Another order of the classes: what it is, and the share of predictions that are right under it."""

    what: str
    accuracy: float


def interval(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) for nothing at all."""
    found = metrics.rate([True] * right + [False] * (count - right))
    return (0.0, 1.0) if found.low is None or found.high is None else (found.low, found.high)


def better_order(predicted: Tensor, labels: Tensor, classes: int, names: Sequence[str] = ()) -> Fit | None:
    """The known way of confusing class orders that fits far better than the labels as they are, or None.

    "Far better": its interval of accuracy lies above that of the labels as they are, and it gets half of the images
    right. Shifts, numbers sorted as text, and names sorted by the alphabet are tried.

    Args:
        predicted, labels: int64 N.
        names: the classifier's class names, where it has them.
    """
    count = len(labels)
    _, bound = interval(int((predicted == labels).sum()), count)
    best: Fit | None = None
    for what, order in _candidates(classes, names):
        right = int((predicted == order[labels]).sum())
        low, _ = interval(right, count)
        if low > bound and 2 * right >= count and (best is None or right / count > best.accuracy):
            best = Fit(what, right / count)
    return best


def _candidates(classes: int, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """(what would have happened, class that each label then means)."""
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
class Agreement:
    """How far images of one label agree on a class: ``share`` of ``count`` images for which the most frequent
    prediction among the *other* images with its label is its own. ``pairs`` are (label, class) where that class is
    another one, the most frequent first; ``one_to_one`` says whether at least two labels have a class of which most
    of their images are, and no two of them the same: only then is it another order of the classes."""

    share: float
    count: int
    pairs: list[tuple[int, int]]
    one_to_one: bool = False


def agreement(predicted: Tensor, labels: Tensor) -> Agreement:
    """Whether some order of the classes would fit, whichever: each image is compared with the others of its label, so
    that one image alone proves nothing."""
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
    return Agreement(share, count, [(label, other) for _, label, other in sorted(pairs)], one_to_one)
