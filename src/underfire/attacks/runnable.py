"""The part of an attack that finds images, without judging them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from underfire.attacks.aim import Aim
from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal
from underfire.attacks.outcome import Outcome
from underfire.attacks.perturbations import Perturbation
from underfire.attacks.progress import Progress
from underfire.attacks.shaping import Shaping
from underfire.attacks.target_maps import MapRule
from underfire.attacks.targets import ClassRule, drawn_among
from underfire.system import SystemView


class Runnable(ABC):
    """An attack as the protocol sees it: an aim for some images, and a way to find adversarial images.

    ``perturbation`` rounds what was found to 8 bits inside its constraint, and decides the size of the noise control.
    """

    name: str
    perturbation: Perturbation
    shaping: Shaping
    goal: Goal
    target_class: ClassRule
    target_map: MapRule

    @property
    @abstractmethod
    def joint(self) -> bool:
        """True if maps are part of the objective."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """The largest number of steps, for progress and traces."""

    @abstractmethod
    def run(
        self,
        view: SystemView,
        benign: Benign,
        aim: Aim,
        *,
        seed: int,
        batch_size: int,
        progress: Progress | None = None,
        trace_every: int | None = None,
    ) -> Outcome:
        """Attack benign images in batches, without judging them.

        Returns:
            The outcome; its images are at 8 bits, inside the constraint.
        """

    @torch.enable_grad()
    def aim(self, view: SystemView, benign: Benign, seed: int) -> Aim:
        """Choose the target classes and target maps of the images."""
        self.target_map.check(self.goal.targeted)
        rule = drawn_among(self.target_class, self.target_map.classes(benign))
        classes = rule.classes(view, benign, seed) if self.goal.targeted else benign.labels
        maps = self.target_map.maps(benign, classes, seed)
        return Aim(self.goal, classes, maps, self.target_map.benign)
