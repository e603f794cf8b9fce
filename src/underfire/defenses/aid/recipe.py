"""The settings of AID."""

from __future__ import annotations

from dataclasses import dataclass

from underfire.arguments import check_at_least, check_choice
from underfire.attacks.presets.settings import MOST_STEPS
from underfire.errors import InputError


@dataclass(frozen=True)
class AidRecipe:
    """All settings of a training by AID, which goes on from a trained masker.

    Args:
        steps: steps of the training.
        batch: images per step for the masker's own loss, at least 2.
        attacked: how many images are attacked per step.
        weight: the weight of the distance |g(x) - g(A(x))| (mean over cells) against the masker's own loss.
        attack: ``adv2`` or ``auto``: the attack A on the masker as it stands.
        eps: its radius in L-inf, for pixels in [0, 1].
        warmup, joint: its steps on the prediction alone, and on prediction and map. ``auto`` makes all of them joint.
        rate, weight_decay: of Adam. The rate falls to 0 in a straight line over the second half.
        seed: of all random draws.

    Raises:
        InputError: a value is out of range.
    """

    steps: int = 600
    batch: int = 32
    attacked: int = 16
    weight: float = 5.0
    attack: str = "adv2"
    eps: float = 8 / 255
    warmup: int = 2
    joint: int = 6
    rate: float = 3e-4
    weight_decay: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("attack", self.attack, ("adv2", "auto"))
        for name, least in (("steps", 1), ("batch", 2), ("attacked", 1), ("joint", 1)):
            check_at_least(name, getattr(self, name), least)
        for name in ("weight", "eps", "warmup", "rate", "weight_decay"):
            check_at_least(name, getattr(self, name), 0)
        if self.warmup + self.joint > MOST_STEPS:
            raise InputError(f"warmup and joint are {self.warmup} and {self.joint}; expected at most {MOST_STEPS}.")

    def rate_at(self, number: int) -> float:
        """Compute the learning rate of step ``number``, from 0."""
        return self.rate * min(1.0, 2 * (1 - number / self.steps))
