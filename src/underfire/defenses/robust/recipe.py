"""The settings of a robust training."""

from __future__ import annotations

from dataclasses import dataclass

from underfire.arguments import check_at_least, check_known
from underfire.defenses.robust.losses import OBJECTIVES, Objective
from underfire.errors import InputError


@dataclass(frozen=True)
class RobustRecipe:
    """All settings of a robust training, which goes on from a trained classifier.

    Args:
        objective: a key of ``OBJECTIVES``.
        gamma: the weight of the maps' discrepancy.
        eps: the radius of the inner attack in L-inf, for pixels in [0, 1].
        attack_steps, step_size: of the inner attack: signed gradient steps from a random start in the ball.
        ramp: the share of the training in [0, 1] over which ``eps`` and ``step_size`` grow in a straight line from 0.
        steps, batch: steps of the training, and images per step.
        rate, momentum, weight_decay: of SGD with Nesterov momentum. The rate rises from 0 in the first tenth of the
            steps, and falls to 0 in a straight line over the rest.
        shift, flip: augmentation: random crops after padding by so many pixels, and mirroring of half the images.
        seed: of the order of images, augmentation and random starts.

    Raises:
        InputError: a value is out of range.
    """

    objective: str = "int-adv"
    gamma: float = 0.01
    eps: float = 8 / 255
    attack_steps: int = 10
    step_size: float = 2 / 255
    ramp: float = 0.25
    steps: int = 4000
    batch: int = 64
    rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    shift: int = 4
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_known("objective", self.objective, OBJECTIVES)
        for name in ("attack_steps", "steps"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("batch", self.batch, 2, ": batch norms need two images")
        for name in ("gamma", "eps", "step_size", "rate", "momentum", "weight_decay", "shift"):
            check_at_least(name, getattr(self, name), 0)
        if not 0 <= self.ramp <= 1:
            raise InputError(f"ramp is {self.ramp}; expected a share of the training in [0, 1].")

    @property
    def made(self) -> Objective:
        """The objective called ``objective``."""
        return OBJECTIVES[self.objective]

    def rate_at(self, number: int) -> float:
        """Compute the learning rate of step ``number``, from 0."""
        progress = (number + 1) / self.steps
        return self.rate * min(progress / 0.1, (1 - progress) / 0.9 + 1e-3)

    def strength_at(self, number: int) -> float:
        """Compute the share of ``eps`` that the inner attack of step ``number`` may use, in (0, 1]."""
        if self.ramp == 0:
            return 1.0
        return min(1.0, (number + 1) / (self.ramp * self.steps))
