"""The outcome of an attack before it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.state import Carried
from underfire.attacks.trace import Trace


@dataclass
class Outcome:
    """The outcome of an attack on N images.

    Args:
        images: the best image N x C x H x W if any iterate succeeded, else the last iterate.
        last: the last iterate.
        steps: int64 N, the steps that each image ran.
        best_step: int64 N, the step of the best image; -1 if no iterate succeeded.
        level: int64 N, the level of the best image, see ``Ranking``; 0 if no iterate succeeded.
        value: N, the criterion of the best image; infinite if no iterate succeeded.
        forwards, backwards: int64 N, the passes through the network that each image took part in.
        seconds: the time of the loop.
        trace: the course, if asked for.
    """

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
        """Make the outcome of no steps on ``images``, with an empty trace if ``trace_every`` is given."""
        trace = Trace(len(images), trace_every) if trace_every else None
        steps, best_step, level, forwards, backwards = torch.zeros(
            5, len(images), dtype=torch.int64, device=images.device
        )
        value = images.new_full((len(images),), torch.inf)
        return cls(images.clone(), images.clone(), steps, best_step, level, value, forwards, backwards, trace=trace)

    def write(self, run: Carried, rows: Tensor, last: Tensor) -> None:
        """Write down the state of some images of a batch.

        Args:
            run: the state of the M images of the batch.
            rows: bool M, the images to write.
            last: their last iterates, M x C x H x W.
        """
        place, found = run.row[rows], (run.best["level"] > 0)[rows]
        last = last.detach()[rows]
        self.last[place] = last
        self.images[place] = torch.where(found.view(-1, 1, 1, 1), run.best["image"][rows], last)
        self.best_step[place] = torch.where(found, run.best["step"][rows], -1)
        self.level[place] = run.best["level"][rows]
        self.value[place] = torch.where(found, run.best["value"][rows], torch.inf)
        for name in ("steps", "forwards", "backwards"):
            getattr(self, name)[place] = run.counts[name][rows]

    def better(self, other: Outcome) -> Outcome:
        """Merge the outcomes of two runs on the same images.

        Each image takes the outcome that ranks higher, or that of the later run, ``other``, if they are equal. Last
        iterates and trace are those of the later run; steps, passes and seconds are added.
        """
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
        """Join the outcomes of several batches."""
        names = ("images", "last", "steps", "best_step", "level", "value", "forwards", "backwards")
        traces = [part.trace for part in parts if part.trace is not None]
        return cls(
            **{name: torch.cat([getattr(part, name) for part in parts]) for name in names},
            seconds=sum(part.seconds for part in parts),
            trace=Trace.joined(traces) if traces else None,
        )
