"""The settings of a robust training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from underfire.arguments import check_at_least, check_between, check_known, whole_number
from underfire.attacks.perturbations import parse_eps
from underfire.defenses.recipe import TrainingRecipe, described
from underfire.defenses.robust.objectives import OBJECTIVES, Objective


def _step(text: str) -> float:
    return parse_eps(text, "step_size")


@dataclass(frozen=True, kw_only=True)
class RobustRecipe(TrainingRecipe):
    """All settings of a robust training, which goes on from a trained classifier; see also ``TrainingRecipe``.

    Args:
        objective: a key of ``OBJECTIVES``.
        gamma: the weight of the objective's penalty: the maps' discrepancy, the norm of integrated gradients, or the
            largest eigenvalue of the Hessian, for pixels in [0, 1].
        segments, attack_segments: the gradients on the line of integrated gradients, in the loss and in each step of
            the inner attack.
        eps: the radius of the inner attack in L-inf, for pixels in [0, 1].
        attack_steps, step_size: of the inner attack: signed gradient steps from a random start in the ball.
        ramp: the share of the training in [0, 1] over which ``eps`` and ``step_size`` grow in a straight line from 0.
        shift, flip: augmentation: random crops after padding by so many pixels, and mirroring of half the images.

    Raises:
        InputError: a value is out of range.
    """

    objective: str = field(default="int-adv", kw_only=False)
    steps: int = 4000
    batch: int = 64
    optimiser: str = "sgd"
    rate: float = 0.05
    weight_decay: float = 5e-4
    schedule: str = "warm-up"
    gamma: float = described("Weight of the penalty: of maps, attributions or curvature.", "X", value=0.01, kind=float)
    segments: int = described("Gradients on the line of integrated gradients.", "N", value=50, kind=int, least=1)
    attack_segments: int = described("The same, in a step of the inner attack.", "N", value=5, kind=int, least=1)
    eps: float = described(
        "Radius of the inner attack: 8/255, or 0.03.", "X", value=8 / 255, kind=float, parse=parse_eps
    )
    attack_steps: int = described("Steps of the inner attack.", "N", value=10, kind=int, least=1)
    step_size: float = described("Step size of the inner attack: 2/255.", "X", value=2 / 255, kind=float, parse=_step)
    ramp: float = described("Share of the training over which the attack grows.", "X", value=0.25, kind=float)
    shift: int = described("Padding in pixels before random crops.", "N", value=4, kind=int, least=0)
    flip: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("objective", self.objective, OBJECTIVES)
        for name, least in (("attack_steps", 1), ("segments", 1), ("attack_segments", 1), ("shift", 0)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        for name in ("gamma", "eps", "step_size"):
            check_at_least(name, getattr(self, name), 0)
        check_between("ramp", self.ramp, 0, 1, "a share of the training in [0, 1]", "[]")

    @property
    def made(self) -> Objective:
        """The objective called ``objective``."""
        return OBJECTIVES[self.objective]

    def without_effect(self, measured: bool) -> dict[str, str]:
        """Say which settings change nothing; see ``TrainingRecipe``. The attack on test images has the same radius."""
        found, own = super().without_effect(measured), self.made
        if own.penalty is None:
            found["gamma"] = f"the objective {self.objective} has no penalty"
        if not own.integrates:
            lines = ("segments", "attack_segments")
            found |= dict.fromkeys(lines, f"the objective {self.objective} has no integrated gradients")
        if not own.attacks:
            names = ("ramp",) if measured else ("ramp", "eps", "attack_steps", "step_size")
            found |= dict.fromkeys(names, f"the objective {self.objective} attacks nothing in training")
        return found

    def strength_at(self, number: int) -> float:
        """Compute the share of ``eps`` that the inner attack of step ``number`` may use, in (0, 1]."""
        if self.ramp == 0:
            return 1.0
        return min(1.0, (number + 1) / (self.ramp * self.steps))


RECIPES: Mapping[str, RobustRecipe] = MappingProxyType(
    {
        **{name: RobustRecipe(name) for name in OBJECTIVES},
        **{
            name: RobustRecipe(name, gamma=1.0, attack_steps=7, optimiser="adamw", rate=3e-4)
            for name in ("ig-norm", "ig-sum-norm")
        },
        "ssr": RobustRecipe("ssr", gamma=0.01, optimiser="adamw", rate=3e-4),
        "quick": RobustRecipe("int-adv", attack_steps=1, step_size=10 / 255, steps=700, rate=0.04),
    }
)
"""Recipes by name: one for each objective, and ``int-adv`` with one inner step, for a core without a GPU.

The authors' program has for ``ig-sum-norm`` gamma 1, 8/255, 7 steps of 2/255, 50 and 5 segments (GTSRB), and the same
for ``ig-norm`` and ``ig-sum-norm`` with gamma .1 on photographs of flowers. The optimiser, its steps and the ramp are
ours, and so is all of ``ssr``: the published weight is for pixels up to 255. Its Hessian is large in a network that was
trained without it, so that a gamma of .3 lost nearly all accuracy of ``cifar10-resnet20`` in 60 steps.
"""
