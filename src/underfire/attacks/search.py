"""A search for the best weight between objective and penalty, image by image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.arguments import whole_number
from underfire.attacks.outcome import Outcome
from underfire.errors import InputError

State = dict[str, Tensor]


@dataclass(frozen=True)
class ConstantSearch:
    """Repeat an attack with another constant c for each image (Carlini & Wagner 2017, section VI-A).

    An attack minimises objective + penalty / c. That is as good as c * objective + penalty, because Adam ignores a
    common factor. c grows after a failure and shrinks after a success: it is multiplied by ten until the first success,
    then set to the middle between the largest c that failed and the smallest that succeeded.

    Prediction-only attacks keep the success with the smallest penalty. Joint attacks keep the one whose map is
    nearest to its target: the search gives them more successes, but rarely nearer maps.

    Args:
        rounds: the number of runs.
        initial: c of the first run; 1 gives the attack without a search.
    """

    rounds: int = 9
    initial: float = 1.0

    def __post_init__(self) -> None:
        whole_number("rounds of search", self.rounds)
        if self.rounds < 1 or not 0 < self.initial < math.inf:
            raise InputError(
                f"search has {self.rounds} rounds from {self.initial}; expected at least one, from above 0."
            )

    def best(self, run: Callable[[int, Tensor], Outcome], images: Tensor) -> Outcome:
        """Run the attack in all rounds, and return the best outcome of each image, with the passes of all rounds.

        Args:
            run: runs the attack; takes the number of the round and the constants, N.
            images: N x C x H x W.
        """
        state = self.start(len(images), images.device)
        found: Outcome | None = None
        for number in range(self.rounds):
            outcome = run(number, state["constant"])
            state = self.update(state, outcome.level > 0)
            found = outcome if found is None else found.better(outcome)
        assert found is not None
        return found

    def start(self, count: int, device: torch.device) -> State:
        """Make the state for ``count`` images; its ``constant``, N, is for the next run."""
        constant = torch.full((count,), self.initial, device=device)
        return {"constant": constant, "low": torch.zeros_like(constant), "high": torch.full_like(constant, torch.inf)}

    def update(self, state: State, success: Tensor) -> State:
        """Return the state after a run that succeeded on the images ``success`` (bool N)."""
        low = torch.where(success, state["low"], state["constant"])
        high = torch.where(success, torch.minimum(state["high"], state["constant"]), state["high"])
        constant = torch.where(high.isinf(), 10 * state["constant"], (low + high) / 2)
        return {"constant": constant, "low": low, "high": high}
