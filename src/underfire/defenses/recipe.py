"""The settings that all trainings of defenses share: length, optimiser, learning rate over time, and averaging."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from underfire.arguments import check_at_least, check_between, check_known, whole_number
from underfire.settings import setting
from underfire.training import OPTIMISERS

SCHEDULES: Mapping[str, tuple[Callable[[int, int], float], str]] = MappingProxyType(
    {
        "warm-up": (
            lambda number, steps: min((number + 1) / steps / 0.1, (1 - (number + 1) / steps) / 0.9 + 1e-3),
            "rising from 0 in the first tenth, then down to 0 in a straight line",
        ),
        "second-half": (
            lambda number, steps: min(1.0, 2 * (1 - number / steps)),
            "falling to 0 in a straight line over the second half",
        ),
        "cosine": (lambda number, steps: (1 + math.cos(math.pi * number / steps)) / 2, "falling to 0 by a cosine"),
        "constant": (lambda number, steps: 1.0, "constant"),
    }
)
"""Learning rates over time, by name: the factor of step ``number`` (from 0) of ``steps``, and a phrase for cards."""


def described(help: str, metavar: str, **more: Any) -> Any:
    """Declare a setting of a recipe, whose default is the recipe's."""
    return setting(help, metavar, default="the recipe's", panel="Settings of the training", **more)


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """The settings that all trainings of defenses share. Subclasses give the defaults.

    Args:
        steps: steps of the training.
        batch: images per step, at least 2.
        optimiser: ``sgd`` with Nesterov momentum, ``adam``, or ``adamw`` (Loshchilov & Hutter 2019).
        rate: the highest learning rate.
        momentum: of SGD; the others do not use it.
        weight_decay: of the optimiser.
        schedule: the learning rate over time, a key of ``SCHEDULES``.
        average: the decay of an exponential moving average of the weights, in [0, 1); the result has the averaged
            weights. 0 for none.
        seed: of all random draws.

    Raises:
        InputError: a value is out of range.
    """

    steps: int = described("Training steps.", "N", kind=int, least=1)
    batch: int = described("Images per step, at least 2.", "N", kind=int, least=2)
    optimiser: str = described("sgd, adam or adamw.", "NAME")
    rate: float = described("The highest learning rate.", "X", kind=float)
    momentum: float = described("Momentum of sgd.", "X", value=0.9, kind=float)
    weight_decay: float = described("Weight decay of the optimiser.", "X", kind=float)
    schedule: str = described("The learning rate over time: warm-up, second-half, cosine or constant.", "NAME")
    average: float = described(
        "Decay of the average of the weights, such as 0.99; 0 for none.", "X", value=0.0, kind=float
    )
    seed: int = described("Seed of all random numbers.", "N", value=0, kind=int)

    def __post_init__(self) -> None:
        for name, least, note in (("steps", 1, ""), ("batch", 2, ": batch norms need two images"), ("seed", None, "")):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least, note))
        check_known("optimiser", self.optimiser, OPTIMISERS)
        check_known("schedule", self.schedule, SCHEDULES)
        for name in ("rate", "momentum", "weight_decay"):
            check_at_least(name, getattr(self, name), 0)
        expected = "the decay of an average in [0, 1), such as 0.99"
        check_between("average", self.average, 0, 1, expected, "[)")

    def rate_at(self, number: int) -> float:
        """Compute the learning rate of step ``number``, from 0."""
        return self.rate * SCHEDULES[self.schedule][0](number, self.steps)

    def without_effect(self, measured: bool) -> dict[str, str]:
        """Say which settings change nothing, by name, with the reason: ``the optimiser adam has none``.

        Args:
            measured: True if the result is measured on test images.
        """
        return {} if self.optimiser == "sgd" else {"momentum": f"the optimiser {self.optimiser} has none"}

    @property
    def optimising(self) -> str:
        """The optimiser, its schedule and the average in words."""
        kind = {"sgd": f"SGD with Nesterov momentum {self.momentum:g}", "adam": "Adam", "adamw": "AdamW"}
        average = f"; the average of the weights with decay {self.average:g}" if self.average else ""
        return (
            f"{kind[self.optimiser]}, weight decay {self.weight_decay:g}, learning rate {self.rate:g}, "
            f"{SCHEDULES[self.schedule][1]}{average}"
        )
