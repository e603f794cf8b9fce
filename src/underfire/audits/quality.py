"""The quality of explanations of clean images: the four checks on which saliency maps failed in radiology (Arun et al.
2021): localisation, dependence on the weights, repeatability and reproducibility."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.benign import Benign
from underfire.check.sanity import IMAGES, look_at
from underfire.classifiers import Classifier
from underfire.errors import InputError, UnderfireError, warn
from underfire.system import System
from underfire.user_parts import naming

LEAST_RIGHT = 0.5
"""The least share of images that another training of the same network must get right, too."""


@dataclass(frozen=True)
class Quality:
    """The results of the four checks on the maps of clean images.

    Args:
        lines: one line for each check, in words.
        doubts: phrases that say on what the maps do not depend, such as "the class (...)".
    """

    lines: tuple[str, ...]
    doubts: list[str]


def look(
    system: System,
    name: str,
    benign: Benign,
    shuffled: Classifier | None,
    masks: Tensor | None = None,
    again: Classifier | None = None,
) -> Quality:
    """Look at one interpreter's maps of clean images.

    Args:
        system: the classifier and its interpreters.
        name: the interpreter.
        benign: the clean images with their maps.
        shuffled: the classifier with shuffled weights; None if it cannot be copied.
        masks: true masks of the objects, bool N x H x W; without them localisation is not known.
        again: the same network, trained again; without it reproducibility is not known.
    """
    interpreter, classifier, maps = system.interpreters[name], system.classifier, benign.maps[name].cpu()
    right = benign.correct.cpu()
    lines = [_localisation(maps[right], None if masks is None else masks.cpu()[right])]
    rows = right.nonzero().flatten()[:IMAGES]
    some = benign.images[rows], benign.labels[rows]
    with naming(interpreter, "interpreter", interpreter.label):
        found = look_at(interpreter, classifier, shuffled, *some, logits=benign.logits[rows])
    if found is None:
        lines.append("dependence on the weights: not looked at, because the map takes long to solve for")
    else:
        unknown = f"unknown ({found.why_unknown})"
        by_weights = unknown if found.other_weights is None else f"{found.other_weights:.2f}"
        lines.append(
            f"dependence: rank correlation {by_weights} with the map under shuffled weights, {found.other_class:.2f} "
            f"with the map of the least likely class (near 1: the map does not depend on them; {len(rows)} images)"
        )
    lines.append(_repeatability(system.only((name,)), name, benign))
    lines.append(_reproducibility(system, name, benign, again))
    return Quality(tuple(lines), [] if found is None else found.doubts)


def _localisation(maps: Tensor, masks: Tensor | None) -> str:
    if masks is None:
        return "localisation: unknown, because these images have no true masks"
    peak = metrics.rate(metrics.peak_inside(maps, masks))
    mass = metrics.interval(metrics.mass_inside(maps, masks))
    return (
        f"localisation: the peak lies on the object in {peak.mean:.0%} of images, and {mass.mean:.0%} of the map does"
    )


def _repeatability(system: System, name: str, benign: Benign) -> str:
    other = system.reseeded()
    if other is None:
        return "repeatability: the map has no random numbers, so that it repeats exactly"
    rows = benign.correct.nonzero().flatten()[:16]
    maps = other.maps(benign.images[rows], benign.labels[rows], benign.ids[rows])[name]
    distance = metrics.interval(metrics.map_l1(maps.cpu(), benign.maps[name][rows].cpu()))
    return f"repeatability: another seed moves the map by {distance.mean:.3f} (map L1, {len(rows)} images)"


def _reproducibility(system: System, name: str, benign: Benign, again: Classifier | None) -> str:
    if again is None:
        return "reproducibility: unknown, because no second training of the network is given (--again)"
    images, labels, ids = benign.images, benign.labels, benign.ids
    logits, classes = again.logits(images), benign.logits.shape[1]
    if logits.shape[1] != classes:
        raise InputError(
            f"again is {again.name}, which has {logits.shape[1]} classes, and {system.classifier.name} has {classes}; "
            "expected the same network, trained again."
        )
    rows = (benign.correct & (logits.argmax(1) == labels)).nonzero().flatten()
    right = int(benign.correct.sum())
    if len(rows) < LEAST_RIGHT * right:
        why = f"the second network gets {len(rows)} of the {right} images right that the first one does"
        warn(
            f"again is {again.name}: {why}, so that its maps are not compared. Expected another training of the same "
            "network, with its classes in the same order."
        )
        return f"reproducibility: unknown, because {why}"
    rows = rows[:16]
    try:
        with torch.no_grad():
            maps = system.interpreters[name].maps(again, images[rows], labels[rows], ids=ids[rows])
    except UnderfireError as error:
        return f"reproducibility: unknown, because the map of the second network cannot be read: {error}"
    own = benign.maps[name][rows].cpu()
    if maps.shape[1:] != own.shape[1:]:
        return "reproducibility: unknown, because the maps of the two networks differ in size"
    correlation = metrics.interval(metrics.map_spearman(maps.cpu(), own))
    return (
        f"reproducibility: rank correlation {correlation.mean:.2f} with the maps of a second training "
        f"({len(rows)} images)"
    )
