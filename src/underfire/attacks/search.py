"""A search for each image's own constant between what an attack wants and what its perturbation costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.outcome import Outcome
from underfire.errors import InputError

State = dict[str, Tensor]


@dataclass(frozen=True)
class ConstantSearch:
    """Several runs of an attack, image by image with a larger constant c after a failure and a smaller one after a
    success (Carlini & Wagner 2017, section VI-A): c is halved between the bounds that are known, and multiplied by ten
    until there is an upper one. Where a success is ranked by its perturbation's cost, as in prediction-only attacks,
    that finds the cheapest one. A joint attack keeps the nearest map of all rounds, so that there it is a way to more
    successes: smaller constants rarely come nearer.

    What is minimised is the objective + penalty / c: as good as c * objective + penalty, since Adam does not see a
    factor on everything.

    Args:
        rounds: runs of the attack.
        initial: c of the first; 1 is the attack without a search.
    """

    rounds: int = 9
    initial: float = 1.0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.initial <= 0:
            raise InputError(
                f"search has {self.rounds} rounds from {self.initial}; expected at least one, from above 0."
            )

    def best(self, run: Callable[[int, Tensor], Outcome], images: Tensor) -> Outcome:
        """The best of the runs for each image, with the passes of all. ``run`` takes the round and the constants."""
        state = self.start(len(images), images.device)
        found: Outcome | None = None
        for number in range(self.rounds):
            outcome = run(number, state["constant"])
            state = self.update(state, outcome.level > 0)
            found = outcome if found is None else found.better(outcome)
        assert found is not None
        return found

    def start(self, count: int, device: torch.device) -> State:
        """The state for ``count`` images; ``constant`` N is what the next run takes."""
        constant = torch.full((count,), self.initial, device=device)
        return {"constant": constant, "low": torch.zeros_like(constant), "high": torch.full_like(constant, torch.inf)}

    def update(self, state: State, success: Tensor) -> State:
        """The state after a run that succeeded on the images ``success`` (bool N)."""
        low = torch.where(success, state["low"], state["constant"])
        high = torch.where(success, torch.minimum(state["high"], state["constant"]), state["high"])
        constant = torch.where(high.isinf(), 10 * state["constant"], (low + high) / 2)
        return {"constant": constant, "low": low, "high": high}
