"""What the attack loop found, before it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.trace import Trace


@dataclass
class Outcome:
    """What the loop found, per image: the best image if any iterate succeeded, else the last; steps that it ran, the
    step of the best (-1 for none), its level (see ``Ranking``; 0 for none) and its criterion (infinite for none), and
    the forward and backward passes through the network that it took part in."""

    images: Tensor
    last: Tensor
    steps: Tensor
    best_step: Tensor
    level: Tensor
    value: Tensor
    forwards: Tensor
    backwards: Tensor
    seconds: float = 0.0
    trace: Trace | None = None

    @classmethod
    def empty(cls, images: Tensor, trace_every: int | None) -> Outcome:
        trace = Trace(len(images), trace_every) if trace_every else None
        steps, best_step, level, forwards, backwards = torch.zeros(
            5, len(images), dtype=torch.int64, device=images.device
        )
        value = images.new_full((len(images),), torch.inf)
        return cls(images.clone(), images.clone(), steps, best_step, level, value, forwards, backwards, trace=trace)

    def better(self, other: Outcome) -> Outcome:
        """Image by image the outcome that ranks higher, of equals the later one, ``other``; last iterates and course of
        the later one; the steps, passes and seconds of both."""
        wins = (other.level > self.level) | ((other.level == self.level) & (other.value <= self.value))
        return Outcome(
            images=torch.where(wins.view(-1, 1, 1, 1), other.images, self.images),
            last=other.last,
            steps=self.steps + other.steps,
            best_step=torch.where(wins, other.best_step, self.best_step),
            level=torch.where(wins, other.level, self.level),
            value=torch.where(wins, other.value, self.value),
            forwards=self.forwards + other.forwards,
            backwards=self.backwards + other.backwards,
            seconds=self.seconds + other.seconds,
            trace=other.trace,
        )

    @classmethod
    def joined(cls, parts: Sequence[Outcome]) -> Outcome:
        """The outcomes of several batches as one."""
        names = ("images", "last", "steps", "best_step", "level", "value", "forwards", "backwards")
        traces = [part.trace for part in parts if part.trace is not None]
        return cls(
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
            seconds=sum(part.seconds for part in parts),
            trace=Trace.joined(traces) if traces else None,
        )
