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
    step of the best (-1 for none) and its criterion (infinite for none), and the forward and backward passes through
    the network that it took part in."""

    images: Tensor
    last: Tensor
    steps: Tensor
    best_step: Tensor
    value: Tensor
    forwards: Tensor
    backwards: Tensor
    seconds: float = 0.0
    trace: Trace | None = None

    @classmethod
    def empty(cls, images: Tensor, trace_every: int | None) -> Outcome:
        trace = Trace(len(images), trace_every) if trace_every else None
        steps, best_step, forwards, backwards = torch.zeros(4, len(images), dtype=torch.int64, device=images.device)
        value = images.new_full((len(images),), torch.inf)
        return cls(images.clone(), images.clone(), steps, best_step, value, forwards, backwards, trace=trace)

    def better(self, other: Outcome) -> Outcome:
        """Image by image the outcome with the smaller criterion; last iterates and course of the later one, ``other``;
        the steps, passes and seconds of both."""
        wins = other.value < self.value
        kept = torch.where(wins.view(-1, 1, 1, 1), other.images, self.images)
        failed = other.value.isinf() & self.value.isinf()
        return Outcome(
            images=torch.where(failed.view(-1, 1, 1, 1), other.images, kept),
            last=other.last,
            steps=self.steps + other.steps,
            best_step=torch.where(wins, other.best_step, self.best_step),
            value=torch.minimum(self.value, other.value),
            forwards=self.forwards + other.forwards,
            backwards=self.backwards + other.backwards,
            seconds=self.seconds + other.seconds,
            trace=other.trace,
        )

    @classmethod
    def joined(cls, parts: Sequence[Outcome]) -> Outcome:
        """The outcomes of several batches as one."""
        names = ("images", "last", "steps", "best_step", "value", "forwards", "backwards")
        traces = [part.trace for part in parts if part.trace is not None]
        return cls(
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
            seconds=sum(part.seconds for part in parts),
            trace=Trace.joined(traces) if traces else None,
        )
