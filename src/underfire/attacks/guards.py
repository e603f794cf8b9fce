"""Guards: conditions that a move must keep, image by image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from underfire.arguments import check_at_least, check_share, whole_number
from underfire.attacks.goal import Goal

State = dict[str, Tensor]


class Guard(ABC):
    """A condition on the logits after a move. The loop looks for the largest step size that keeps it, by bisection.

    ``iterations`` is the number of step sizes that are tried: the whole move, and then halvings.
    """

    iterations: int

    @abstractmethod
    def start(self, logits: Tensor, classes: Tensor, goal: Goal) -> State:
        """Make the state of each image from the logits at the start of the stage."""

    @abstractmethod
    def holds(self, logits: Tensor, classes: Tensor, goal: Goal, state: State) -> Tensor:
        """Return True for images whose logits after the move keep the condition, bool N."""


@dataclass(frozen=True)
class MarginGuard(Guard):
    """Keep the distance to the goal, in logits, below -min(``limit``, ``share`` x m) ([ADV2] algorithm 1).

    m is the margin by which the goal was met at the start of the stage. A fixed limit alone would allow no step at all
    on networks with small logits.
    """

    limit: float = 10.0
    share: float = 0.5
    iterations: int = 10

    def __post_init__(self) -> None:
        check_at_least("limit", self.limit, 0)
        check_share("share", self.share)
        whole_number("iterations", self.iterations, 1)

    def start(self, logits: Tensor, classes: Tensor, goal: Goal) -> State:
        reached = (-goal.margin(logits, classes)).clamp_min(0)
        return {"bound": -(self.share * reached).clamp_max(self.limit)}

    def holds(self, logits: Tensor, classes: Tensor, goal: Goal, state: State) -> Tensor:
        return goal.margin(logits, classes) <= state["bound"]


class Guarded(Protocol):
    """A move with its guard, if it has one."""

    @property
    def guard(self) -> Guard | None: ...


def begun(moves: Sequence[Guarded], logits: Tensor, classes: Tensor, goal: Goal) -> dict[str, State]:
    """Make the states of the guards of some moves at the start of a stage, by the numbers of the moves."""
    return {str(i): move.guard.start(logits, classes, goal) if move.guard else {} for i, move in enumerate(moves)}


def largest(size: Tensor, holds: Callable[[Tensor], Tensor], iterations: int) -> Tensor:
    """Find the largest value per image, between 0 and ``size``, for which ``holds`` is true: bisection for all at once.

    Args:
        size: N, the largest values to try; they are tried first.
        holds: from N values to bool N; called ``iterations`` times.
    """
    low, high = torch.where(holds(size), size, 0.0), size
    for _ in range(iterations - 1):
        middle = (low + high) / 2
        good = holds(middle)
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return low
