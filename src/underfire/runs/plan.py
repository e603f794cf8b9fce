"""The plan of a run: everything that it works with once its images are selected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from underfire.attacks.experiment import Experiment
from underfire.data import ImageData
from underfire.runs.cells import Cell
from underfire.runs.selection import Selection
from underfire.runs.store import Store


class Described(Protocol):
    """The settings that rows of results hold: a ``RunConfig``, or those of a transfer."""

    @property
    def classifier(self) -> str: ...
    @property
    def seed(self) -> int: ...


@dataclass
class Plan:
    """Everything that a run works with.

    Args:
        config, data, selection, experiment: what is attacked, and how.
        cells: by label, in the order in which they run.
        store: the run's folder.
        siblings: folders of runs whose cells may be taken over instead of being computed again.
    """

    config: Described
    data: ImageData
    selection: Selection
    experiment: Experiment
    cells: dict[str, Cell]
    store: Store
    siblings: tuple[Path, ...] = ()

    @property
    def steps(self) -> int:
        """The number of steps of all attacks together."""
        return sum(arm.attack.steps for arm in self.experiment.arms if arm.attack is not None)


def count_steps(plan: Plan, shards: Sequence[Sequence[int]]) -> Iterator[int]:
    """Yield the number of steps of each shard: those of all attacks for each attacked image."""
    for positions in shards:
        yield plan.steps * sum(plan.selection.attacked[position] for position in positions)
