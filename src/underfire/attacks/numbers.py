"""The numbers of one step: weights of terms, step sizes, and the step's own number.

A step that is made operation by operation takes them as Python numbers. A step that is recorded as a CUDA graph takes
them as tensors on the device, because a recorded operation repeats the Python numbers that it was recorded with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.schedule import Stage

Number = float | Tensor
"""A Python number, or a tensor without dimensions on the attack's device."""


@dataclass(frozen=True)
class StepNumbers:
    """The numbers of one step.

    Args:
        step: the number of the step, from 0, over all stages.
        weights: the weight of each term, by move and term.
        sizes: the step size of each move.
    """

    step: int | Tensor
    weights: tuple[tuple[Number, ...], ...]
    sizes: tuple[Number, ...]

    @classmethod
    def of(cls, stage: Stage, index: int, before: int) -> StepNumbers:
        """Compute the numbers of a step as Python numbers.

        Args:
            index: the number of the step in its stage, from 0.
            before: the steps of all stages before.
        """
        progress = stage.progress(index)
        weights = tuple(tuple(weighted.weight_at(progress) for weighted in move.terms) for move in stage.moves)
        return cls(before + index, weights, tuple(move.size_at(progress) for move in stage.moves))


def scaled(number: Number, value: Tensor) -> Tensor:
    """Multiply a tensor without dimensions by a number, with the same bits for both kinds of numbers."""
    return number.to(value.dtype) * value if isinstance(number, Tensor) else number * value


def per_row(number: Number, like: Tensor) -> Tensor:
    """Return the number once for each row of ``like``, N."""
    if isinstance(number, Tensor):
        return number.to(like.dtype).expand(len(like))
    return like.new_full((len(like),), number)


class NumberTable:
    """The numbers of all steps of a stage on the device, and a counter that says which step is made.

    Args:
        stage: the stage.
        before: the steps of all stages before.
        device: the device of the attack.
    """

    def __init__(self, stage: Stage, before: int, device: torch.device) -> None:
        self.before = before
        self._terms = [len(move.terms) for move in stage.moves]
        rows = [self._row(StepNumbers.of(stage, index, before)) for index in range(stage.steps)]
        self._rows = torch.tensor(rows, dtype=torch.float64, device=device)
        self._counter = torch.zeros(1, dtype=torch.int64, device=device)

    @staticmethod
    def _row(numbers: StepNumbers) -> list[float]:
        return [float(number) for number in (*(w for weights in numbers.weights for w in weights), *numbers.sizes)]

    def choose(self, index: int) -> None:
        """Set the counter to a step of the stage. The device is not waited for."""
        self._counter.fill_(index)

    def read(self) -> StepNumbers:
        """Read the numbers of the step that the counter says, as tensors without dimensions."""
        values = iter(self._rows.index_select(0, self._counter).squeeze(0).unbind())
        weights = tuple(tuple(next(values) for _ in range(count)) for count in self._terms)
        return StepNumbers(self._counter.squeeze(0) + self.before, weights, tuple(values))
