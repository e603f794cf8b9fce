"""The aim of an attack on some images: its target classes and target maps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from underfire.attacks.goal import Goal


@dataclass(frozen=True)
class Aim:
    """The wanted classes and maps of N images.

    Args:
        goal: reach a class, or leave one.
        classes: int64 N: the target classes, or the images' own classes if the goal is to leave them.
        maps: the wanted maps N x h x w in [0, 1], by interpreter, also of interpreters that only read.
        keeps_benign: True if the wanted maps are the images' benign maps.
    """

    goal: Goal
    classes: Tensor
    maps: dict[str, Tensor]
    keeps_benign: bool

    def only(self, names: Collection[str]) -> Aim:
        """Return the aim with the wanted maps of these interpreters alone."""
        return replace(self, maps={name: self.maps[name] for name in names})


def merged(aims: Sequence[Aim]) -> Aim:
    """Join the aims of attacks on different interpreters, which share images and target classes."""
    first = aims[0]
    assert all(torch.equal(aim.classes, first.classes) and aim.goal == first.goal for aim in aims)
    return replace(first, maps={name: maps for aim in reversed(aims) for name, maps in aim.maps.items()})
