"""The trace of an attack: losses, success and map distances of each image at regular steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.goal import Goal
from underfire.attacks.schedule import Weighted
from underfire.attacks.terms.base import Point


@dataclass(frozen=True)
class Seen:
    """The values of one step of an attack that a trace records, without graphs.

    Args:
        values: N for each term of the move.
        logits: N x K.
        maps: N x h x w by interpreter; empty if the step read none.
        image: N x C x H x W, if the step read no maps; a copy, since the step's own tensor may be moved.
    """

    values: tuple[Tensor, ...]
    logits: Tensor
    maps: dict[str, Tensor]
    image: Tensor | None

    @classmethod
    def of(cls, values: Sequence[Tensor], point: Point) -> Seen:
        """Take what a trace records from a point and the values of the terms there."""
        maps = {name: read.detach() for name, read in point.reading.maps.items()}
        image = None if maps else point.image.detach().clone()
        return cls(tuple(value.detach() for value in values), point.reading.logits.detach(), maps, image)

    def columns(
        self,
        terms: Sequence[Weighted],
        goal: Goal,
        classes: Tensor,
        maps: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Compute the columns of the trace, N values by name.

        Args:
            terms: the terms of ``values``; the values of terms with one name are added.
            goal: reach a class, or leave one.
            classes: int64 N, the classes that ``goal`` is about.
            maps, targets: the maps of the image and the wanted ones, N x h x w by interpreter.
        """
        found: dict[str, Tensor] = {}
        for weighted, value in zip(terms, self.values, strict=True):
            name = f"loss_{weighted.term.name}"
            found[name] = found[name] + value if name in found else value
        found["success"] = goal.reached(self.logits, classes).float()
        for name, read in maps.items():
            found[f"map_l1/{name}"] = (read - targets[name]).abs().mean((1, 2))
        return found


class Trace:
    """The trace of an attack on ``count`` images, recorded at every ``every``-th step.

    Attributes:
        steps: the S recorded steps, from 0.
        stages: the name of the stage at each of them.
        columns: S x N values by name: ``loss_prediction``, ``loss_interpretation`` and so on for each loss term,
            ``success`` (0 or 1), and ``map_l1/INTERPRETER`` for each interpreter. NaN for values that do not exist, in
            a stage without maps or for an image whose attack has stopped early.
    """

    def __init__(self, count: int, every: int) -> None:
        self.count, self.every = count, every
        self.steps: list[int] = []
        self.stages: list[str] = []
        self._rows: list[dict[str, Tensor]] = []  # on the CPU, one entry per recorded step
        self._waiting: list[dict[str, Tensor]] = []  # on the device of the attack, the last recorded steps

    def wants(self, step: int) -> bool:
        """Return True if ``step`` is to be recorded."""
        return step % self.every == 0

    def add(self, step: int, stage: str, row: Tensor, columns: Mapping[str, Tensor]) -> None:
        """Record one step. The values stay on their device until ``fetch``: a GPU is not waited for.

        Args:
            row: int64 M, the places of the images in the trace; -1 for rows to ignore.
            columns: M values by name.
        """
        place = torch.where(row < 0, self.count, row)  # rows to ignore go to one place more, which is cut off
        noted = {}
        for name, values in columns.items():
            full = values.new_full((self.count + 1,), torch.nan, dtype=torch.float32)
            noted[name] = full.index_copy(0, place, values.detach().float())[: self.count]
        self.steps.append(step)
        self.stages.append(stage)
        self._waiting.append(noted)

    def fetch(self) -> None:
        """Copy the steps that were recorded since the last call to the CPU, one copy for each column."""
        fetched: list[dict[str, Tensor]] = [{} for _ in self._waiting]
        for name in sorted({name for row in self._waiting for name in row}):
            having = [index for index, row in enumerate(self._waiting) if name in row]
            together = torch.stack([self._waiting[index][name] for index in having]).cpu()
            for index, values in zip(having, together, strict=True):
                fetched[index][name] = values
        self._rows += fetched
        self._waiting = []

    @property
    def columns(self) -> dict[str, Tensor]:
        """The recorded values, S x N by name, on the CPU."""
        self.fetch()
        names = sorted({name for row in self._rows for name in row})
        missing = torch.full((self.count,), torch.nan, device="cpu")
        return {name: torch.stack([row.get(name, missing) for row in self._rows]) for name in names}

    @classmethod
    def joined(cls, traces: Sequence[Trace]) -> Trace:
        """Join the traces of several batches, with the steps of the longest."""
        longest = max(traces, key=lambda trace: len(trace.steps))
        joint = cls(sum(trace.count for trace in traces), longest.every)
        joint.steps, joint.stages = longest.steps, longest.stages
        for trace in traces:
            trace.fetch()
        for index in range(len(longest.steps)):
            names = sorted({name for trace in traces for row in trace._rows[index : index + 1] for name in row})
            joint._rows.append({name: torch.cat([t._values(index, name) for t in traces]) for name in names})
        return joint

    def _values(self, index: int, name: str) -> Tensor:
        missing = torch.full((self.count,), torch.nan, device="cpu")
        return self._rows[index].get(name, missing) if index < len(self._rows) else missing
