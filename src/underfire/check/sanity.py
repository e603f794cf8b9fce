"""Sanity checks of interpreters: do maps depend on the class, and on the weights (Adebayo et al. 2018)?

A map that depends on neither says nothing about the classifier. Such a map is easy to keep under attack, and an
interpreter that shows it deserves no praise for that.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire import metrics
from underfire.classifiers import Classifier, copied
from underfire.interpreters import Interpreter
from underfire.interpreters.map_checks import check_range, check_shape
from underfire.numerics import judging
from underfire.randomness import identities
from underfire.text import plain

SAME = 0.9
"""Maps with a higher rank correlation than this count as the same."""

IMAGES = 2
"""The number of images whose maps are compared: more would take longer, and a map that never changes shows on two."""


@dataclass(frozen=True)
class Sanity:
    """Findings on an interpreter's maps of a few images: their dependence on class and weights, and their place.

    Args:
        other_class: mean rank correlation (Spearman) with the maps of the same images for the least likely class, in
            [-1, 1].
        other_weights: that with the maps of a copy of the network whose weights are shuffled; None if these maps
            cannot be had.
        on_object: mean share of the map that lies on the object, in [0, 1]; None without true masks.
        why_unknown: why ``other_weights`` is None.
    """

    other_class: float
    other_weights: float | None = None
    on_object: float | None = None
    why_unknown: str = ""

    @property
    def doubts(self) -> list[str]:
        """Phrases that say on what the maps do not depend; empty if nothing is wrong."""
        found = []
        if self.other_class > SAME:
            found.append(f"the class (rank correlation {self.other_class:.2f} with the map of the least likely class)")
        if self.other_weights is not None and self.other_weights > SAME:
            found.append(f"the weights (rank correlation {self.other_weights:.2f} with shuffled weights)")
        return found


def shuffled_copy(classifier: Classifier, seed: int = 0) -> Classifier | None:
    """Copy the classifier, and shuffle the values within each of its weights; None if it cannot be copied."""
    try:
        other = copied(classifier)
    except Exception:  # a user's network may refuse in any way; ``look_at`` says that there is no copy
        return None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in other.module.parameters():
            order = torch.randperm(values.numel(), generator=generator).to(values.device)
            values.copy_(values.flatten()[order].view_as(values))
    return other


def look_at(
    interpreter: Interpreter,
    classifier: Classifier,
    other: Classifier | None,
    images: Tensor,
    classes: Tensor,
    masks: Tensor | None = None,
    logits: Tensor | None = None,
) -> Sanity | None:
    """Compare the maps of a few images with maps for the least likely class and of another network.

    The least likely class, as in Rebuffi et al. 2020 ("There and Back Again", class sensitivity): a neighbour in the
    list of classes is often a kin, such as another fish, and may share its map with good reason.

    Args:
        other: a classifier with other weights; see ``shuffled_copy``.
        images: N x C x H x W in [0, 1]; the first two are read, and all if there are masks.
        classes: int64 N, the classes to explain.
        masks: true masks of the objects, bool N x H x W.
        logits: N x K, those of the images; they are computed if None.

    Returns:
        The results; None for an interpreter that is slow, because its maps would take as long as the whole check.
    """
    if interpreter.sketch() is not interpreter:
        return None
    on_object = None
    if masks is not None:
        on_object = float(metrics.mass_inside(interpreter.maps(classifier, images, classes).cpu(), masks.cpu()).mean())
    images, classes, logits = images[:IMAGES], classes[:IMAGES], None if logits is None else logits[:IMAGES]
    asked = torch.cat([classes, least_likely(classifier.logits(images) if logits is None else logits, classes)])
    own, others = read_few(interpreter, classifier, images.repeat(2, 1, 1, 1), asked).split(len(images))
    by_class = _correlation(own, others)
    if other is None:
        return Sanity(by_class, None, on_object, "the network cannot be copied")
    try:
        by_weights = _correlation(own, read_few(interpreter, other, images, classes).to(own))
    except Exception as error:  # a masker that knows its weights, memory, code of the user that knows one network only
        why = textwrap.shorten(plain(f"{type(error).__name__}: {error}"), 120, placeholder=" ...")
        return Sanity(by_class, None, on_object, why)
    return Sanity(by_class, by_weights, on_object)


def least_likely(logits: Tensor, classes: Tensor) -> Tensor:
    """Choose the class with the smallest logit, int64 N; the next class where it is the one to explain.

    Args:
        logits: N x K.
        classes: int64 N, the classes to explain.
    """
    least = logits.argmin(1).to(classes)
    return torch.where(least == classes, (classes + 1) % logits.shape[1], least)


def read_few(interpreter: Interpreter, classifier: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """Read maps of a few images without filling the batch up, since their last bits do not matter.

    Arguments as in ``look_at``.

    Raises:
        InterpreterError: the interpreter does not work with the classifier, or returns no maps N x h x w in [0, 1].
    """
    images, classes = images.to(classifier.device), classes.to(classifier.device)
    ids = identities(images, None).to(classifier.device)
    with classifier.evaluating(), judging(classifier.device):
        read = interpreter.bound_to(classifier)(images, classes, ids)
        maps = check_shape(read, len(images), interpreter.label).detach().float()
    check_range(maps, f"interpreter {interpreter.label}")
    return maps


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(metrics.map_spearman(one, other).double().mean())


def moved_by_seed(interpreter: Interpreter, classifier: Classifier, images: Tensor, classes: Tensor) -> float:
    """Compute the mean distance (``map_l1``) of the maps of two images to those with another seed.

    Arguments as in ``look_at``. 0 for an interpreter without random numbers.
    """
    other, images, classes = interpreter.reseeded(), images[:IMAGES], classes[:IMAGES]
    if other is None:
        return 0.0
    one, again = (read_few(each, classifier, images, classes) for each in (interpreter, other))
    return float(metrics.map_l1(one, again).double().mean())
