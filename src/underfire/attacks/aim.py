"""The aim of an attack on some images: its target classes and target maps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from underfire.attacks.goal import Goal
from underfire.errors import InputError


@dataclass(frozen=True)
class Aim:
    """The wanted classes and maps of N images.

    Args:
        goal: reach a class, or leave one.
        classes: int64 N: the target classes, or the images' own classes if the goal is to leave them.
        maps: the wanted maps N x h x w in [0, 1], by interpreter, also of interpreters that only read.
        keeps_benign: True if the wanted maps are the images' benign maps.
        probabilities: the wanted class probabilities N x K; None if the rule for target classes wants none.
    """

    goal: Goal
    classes: Tensor
    maps: dict[str, Tensor]
    keeps_benign: bool
    probabilities: Tensor | None = None

    def only(self, names: Collection[str]) -> Aim:
        """Return the aim with the wanted maps of these interpreters alone."""
        return replace(self, maps={name: self.maps[name] for name in names})

    def part(self, rows: slice) -> Aim:
        """Return the aim of the images in ``rows``."""
        return replace(
            self,
            classes=self.classes[rows],
            maps={name: maps[rows] for name, maps in self.maps.items()},
            probabilities=None if self.probabilities is None else self.probabilities[rows],
        )


def merged(aims: Sequence[Aim]) -> Aim:
    """Join the aims of attacks on different interpreters, which share images, goal and target classes.

    Raises:
        InputError: the target classes differ.
    """
    first = aims[0]
    different = [aim for aim in aims if not torch.equal(aim.classes, first.classes)]
    if different:
        place = int((different[0].classes != first.classes).nonzero()[0])
        raise InputError(
            f"the rule for target classes gives image {place} of a batch class {int(first.classes[place])} for one "
            f"attack and class {int(different[0].classes[place])} for another. Attacks of one run share controls, so "
            "that the class may depend on the image, the classifier and the seed alone: not on benign.maps, which "
            "differ with --each, and on no random numbers of its own."
        )
    return replace(first, maps={name: maps for aim in reversed(aims) for name, maps in aim.maps.items()})
