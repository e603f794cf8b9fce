"""The trace of an attack: losses, success and map distances of each image at regular steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


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
        self._rows: list[dict[str, Tensor]] = []

    def wants(self, step: int) -> bool:
        """Return True if ``step`` is to be recorded."""
        return step % self.every == 0

    def add(self, step: int, stage: str, row: Tensor, columns: Mapping[str, Tensor]) -> None:
        """Record one step.

        Args:
            row: int64 M, the places of the images in the trace; -1 for rows to ignore.
            columns: M values by name.
        """
        real = row >= 0
        noted = {}
        for name, values in columns.items():
            full = values.new_full((self.count,), torch.nan, dtype=torch.float32)
            full[row[real]] = values.detach().float()[real]
            noted[name] = full
        self.steps.append(step)
        self.stages.append(stage)
        self._rows.append(noted)

    @property
    def columns(self) -> dict[str, Tensor]:
        """The recorded values, S x N by name."""
        names = sorted({name for row in self._rows for name in row})
        missing = torch.full((self.count,), torch.nan)
        return {name: torch.stack([row.get(name, missing).cpu() for row in self._rows]) for name in names}

    @classmethod
    def joined(cls, traces: Sequence[Trace]) -> Trace:
        """Join the traces of several batches, with the steps of the longest."""
        longest = max(traces, key=lambda trace: len(trace.steps))
        joint = cls(sum(trace.count for trace in traces), longest.every)
        joint.steps, joint.stages = longest.steps, longest.stages
        for index in range(len(longest.steps)):
            names = sorted({name for trace in traces for row in trace._rows[index : index + 1] for name in row})
            joint._rows.append({name: torch.cat([t._values(index, name) for t in traces]) for name in names})
        return joint

    def _values(self, index: int, name: str) -> Tensor:
        missing = torch.full((self.count,), torch.nan)
        return self._rows[index].get(name, missing).cpu() if index < len(self._rows) else missing
