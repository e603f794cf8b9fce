"""Feature squeezing (Xu et al. 2018): predictions that change when detail is removed from the image."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar, Self

import torch
from torch import Tensor

from underfire.attacks.grid_first import GridFirst
from underfire.attacks.terms import Point
from underfire.attacks.terms.squeezed import shift
from underfire.detectors.contract import Detector, State
from underfire.detectors.description import LEEWAY, fields_of, items_of, number_of, terms_of
from underfire.errors import InputError
from underfire.runs.identity import described
from underfire.system import System
from underfire.transforms.squeezers import BitDepth, squeezers

BEST_JOINT = ("bit-depth:5", "median:2", "non-local-means:13-3-2")
"""The best joint detector of Xu et al. 2018 (table 5) on CIFAR-10 and ImageNet."""


@dataclass(frozen=True)
class Squeezing(Detector):
    """The L1 distance |p(x) - p(s(x))| of the class probabilities before and after a squeezer s, in [0, 2].

    The score of several squeezers together is the largest of theirs (Xu et al. 2018, section V.A).

    Args:
        squeezers: the squeezers, such as ``("bit-depth:3", "median:2")``.
    """

    squeezers: tuple[str, ...] = BEST_JOINT
    name: ClassVar[str] = "squeezing"
    attacker: ClassVar[str] = "--evade with the folder of this detector, and the attack adaptive ([ADV2] section 4.5)"

    def __post_init__(self) -> None:
        made = squeezers(self.squeezers)
        if not made:
            raise InputError("squeezers is empty; expected at least one, such as bit-depth:3.")
        object.__setattr__(self, "squeezers", tuple(each.label for each in made))

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Make the detector from squeezers joined by ``+``, such as ``bit-depth:3+median:2``."""
        return cls(tuple(argument.split("+")))

    @property
    def title(self) -> str:
        return f"{self.name} {' + '.join(self.squeezers)}"

    def knows(self, attack: str, threshold: float) -> bool:
        """Return True if the attack's terms push the scores of all squeezers to this threshold or below it.

        ``Evade`` has thresholds of its own, and ``Squeeze`` lowers scores without an end. ``Match``, the published
        term, stands for the reduction of bit depth on whose grid the attack has found its target classes.
        """
        evaded = _evaded(attack)
        most = threshold * (1 + LEEWAY)
        return all(evaded.get(described(each), math.inf) <= most for each in squeezers(self.squeezers))

    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        return self.distances(system, images).amax(1)

    def distances(self, system: System, images: Tensor) -> Tensor:
        """Compute the distance for each squeezer: float64 N x squeezers."""
        before = self._probabilities(system, images)
        after = [self._probabilities(system, squeeze(images)) for squeeze in squeezers(self.squeezers)]
        return torch.stack([(before - each).abs().sum(1) for each in after], 1)

    def differentiable(self, system: System, state: State) -> Callable[[Point], Tensor]:
        known = squeezers(self.squeezers)
        return lambda point: torch.stack([shift(point, each) for each in known], 1).amax(1)

    @staticmethod
    def _probabilities(system: System, images: Tensor) -> Tensor:
        return system.classifier.logits(images).double().softmax(1)


def _evaded(attack: str) -> dict[str, float]:
    """Return the score that an attack's terms push each squeezer's below, by the squeezer's description."""
    found: dict[str, float] = {}

    def note(squeezer: str, threshold: float) -> None:
        found[squeezer] = min(threshold, found.get(squeezer, math.inf))

    for term in terms_of(attack, "Squeeze"):
        for each in items_of(fields_of(term).get("squeezers", "")):
            note(each, 0.0)
    for term in terms_of(attack, "Evade"):
        fields = fields_of(term)
        limits, weights = (map(number_of, items_of(fields.get(name, ""))) for name in ("thresholds", "weights"))
        for each, limit, weight in zip_longest(items_of(fields.get("squeezers", "")), limits, weights):
            if each is not None and weight != 0:
                note(each, 0.0 if limit is None else limit)
    for term in terms_of(attack, "Match"):
        for bits in re.findall(rf"\b{GridFirst.__name__}\(bits=([1-7])\b", attack):
            note(described(BitDepth(int(bits))), number_of(fields_of(term).get("threshold")) or 0.0)
    return found
