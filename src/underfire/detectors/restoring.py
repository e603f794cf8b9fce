"""Measures of transformations as a defense: how much of class and map they restore on attacked images."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor

from underfire import metrics
from underfire.attacks.measure import Measure, Seen
from underfire.errors import InputError
from underfire.system import System
from underfire.transforms.squeezers import Squeezer, squeezers


def restoring(system: System, transforms: Sequence[str | Squeezer]) -> list[Measure]:
    """Make measures of what transformations restore: ``uf.attack(..., measures=restoring(system, ["jpeg:75"]))``.

    For each transformation s there are two: ``class_back_NAME`` is true if s(x') gets the image's own class (again),
    and ``map_after_NAME`` is the mean absolute difference between the map of s(x') and the benign map, both for the
    image's own class. Both are known for clean images, too, where they say what the transformation costs.

    Args:
        system: the attacked system.
        transforms: squeezers, JPEG, random resizing: whatever ``--evade`` takes, such as ``"resize-pad"``.

    Raises:
        InputError: there is no such transformation, or ``system`` is no ``System``.
    """
    if not isinstance(system, System):
        raise InputError(f"system is {system!r:.80}; expected the attacked System, which has the interpreters.")
    return [measure for each in squeezers(transforms, "transforms") for measure in _pair(system, each)]


def _pair(system: System, transform: Squeezer) -> list[Measure]:
    name = re.sub(r"\W+", "_", transform.label)

    def class_back(seen: Seen) -> Tensor:
        return system.classifier.logits(transform(seen.images)).argmax(1).cpu() == seen.labels

    def map_after(seen: Seen, interpreter: str) -> Tensor:
        images = transform(seen.images).clamp(0, 1)
        after = system.only((interpreter,)).maps(images, seen.labels, seen.ids)[interpreter]
        return metrics.map_l1(after.cpu().double(), seen.benign_maps[interpreter].double()).float()

    return [
        Measure(
            name=f"class_back_{name}",
            per="image",
            kind="bool",
            heading=f"class back after {transform.label}",
            meaning=f"the image gets its own class after {transform.label}",
            better="lower",
            compute=class_back,
        ),
        Measure(
            name=f"map_after_{name}",
            per="map",
            kind="float",
            heading=f"map L1 after {transform.label}",
            meaning=f"distance between the map of the image after {transform.label} and the benign map, own class",
            bounds=metrics.UNIT,
            compute=map_after,
        ),
    ]
