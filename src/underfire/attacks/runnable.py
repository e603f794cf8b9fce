"""The part of an attack that finds images, without judging them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from underfire.attacks.aim import Aim
from underfire.attacks.benign import Benign
from underfire.attacks.class_rule import Choice
from underfire.attacks.goal import Goal
from underfire.attacks.outcome import Outcome
from underfire.attacks.perturbations import Perturbation
from underfire.attacks.progress import Progress
from underfire.attacks.shaping import Shaping
from underfire.attacks.target_maps import MapRule, wanted_maps
from underfire.attacks.targets import ClassRule, chosen, drawn_among
from underfire.system import SystemView
from underfire.user_parts import guarded


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
        """Choose the target classes and target maps of the images.

        Raises:
            InputError: a rule chooses impossible classes or maps; see ``chosen`` and ``wanted_maps``.
            UserCodeError: a rule of the user's own raises an error.
        """
        map_rule = guarded(self.target_map, "target_map")
        map_rule.check(self.goal.targeted)
        class_rule = drawn_among(self.target_class, map_rule.classes(benign))
        choice = chosen(class_rule, view, benign, seed) if self.goal.targeted else Choice(benign.labels)
        maps = wanted_maps(self.target_map, benign, choice.classes, seed)
        return Aim(self.goal, choice.classes, maps, self.target_map.benign, choice.probabilities)
