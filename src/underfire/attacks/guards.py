"""Guards: what a move must not undo, decided image by image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from underfire.attacks.goal import Goal

State = dict[str, Tensor]


class Guard(ABC):
    """A condition on the logits after a move. ``iterations`` is how often the interval of step sizes is halved."""

    iterations: int

    @abstractmethod
    def start(self, logits: Tensor, classes: Tensor, goal: Goal) -> State:
        """Per-image state from the logits at the start of the stage."""

    @abstractmethod
    def holds(self, logits: Tensor, classes: Tensor, goal: Goal, state: State) -> Tensor:
        """bool N: whether the move may be made."""


@dataclass(frozen=True)
class MarginGuard(Guard):
    """The goal's margin stays below -min(``limit``, ``share`` of what the stage began with) (ADV2, algorithm 1).

    A fixed limit alone would stall networks whose logits are small.
    """

    limit: float = 10.0
    share: float = 0.5
    iterations: int = 10

    def start(self, logits: Tensor, classes: Tensor, goal: Goal) -> State:
        reached = (-goal.margin(logits, classes)).clamp_min(0)
        return {"bound": -(self.share * reached).clamp_max(self.limit)}

    def holds(self, logits: Tensor, classes: Tensor, goal: Goal, state: State) -> Tensor:
        return goal.margin(logits, classes) <= state["bound"]
