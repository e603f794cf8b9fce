"""The settings of AID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from underfire.arguments import check_at_least, check_choice, whole_number
from underfire.attacks.perturbations import parse_eps
from underfire.attacks.presets.settings import MOST_STEPS
from underfire.defenses.recipe import TrainingRecipe, described
from underfire.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AidRecipe(TrainingRecipe):
    """All settings of a training by AID, which goes on from a trained masker; see also ``TrainingRecipe``.

    Args:
        batch: images per step for the masker's own loss, at least 2.
        attacked: the number of images that are attacked in each step.
        weight: the weight of the distance |g(x) - g(A(x))| (mean over cells) against the masker's own loss.
        attack: ``adv2`` or ``auto``: the attack A on the masker as it stands.
        eps: its radius in L-inf, for pixels in [0, 1].
        warmup, joint: its steps on the prediction alone, and on prediction and map. ``auto`` makes all of them joint.

    Raises:
        InputError: a value is out of range.
    """

    steps: int = 600
    batch: int = 32
    optimiser: str = "adam"
    rate: float = 3e-4
    weight_decay: float = 1e-4
    schedule: str = "second-half"
    attacked: int = described("Images that are attacked in each step.", "N", value=16, kind=int, least=1)
    weight: float = described("Weight of the distance of attacked maps.", "X", value=5.0, kind=float)
    attack: str = "adv2"
    eps: float = described("Radius of the attack: 8/255, or 0.03.", "X", value=8 / 255, kind=float, parse=parse_eps)
    warmup: int = described("Steps of the attack on the prediction alone.", "N", value=2, kind=int, least=0)
    joint: int = described("Steps of the attack on prediction and map.", "N", value=6, kind=int, least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("attack", self.attack, ("adv2", "auto"))
        for name, least in (("attacked", 1), ("joint", 1), ("warmup", 0)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        for name in ("weight", "eps"):
            check_at_least(name, getattr(self, name), 0)
        if self.warmup + self.joint > MOST_STEPS:
            raise InputError(f"warmup and joint are {self.warmup} and {self.joint}; expected at most {MOST_STEPS}.")


RECIPES: Mapping[str, AidRecipe] = MappingProxyType(
    {
        "adv2": AidRecipe(),
        "auto": AidRecipe(attack="auto", warmup=0, joint=8),
        "quick": AidRecipe(steps=150, attacked=8, joint=4),
    }
)
"""Recipes by name: the attack of the paper, ``auto`` in its place, and a short one for a first look."""
