"""The work of a planned run: its shards are cut, attacked in any order, and made into tables."""

from __future__ import annotations

from typing import Any

from underfire.batching import depends_on_batch
from underfire.errors import warn
from underfire.runs.environment import environment
from underfire.runs.plan import Plan, count_steps
from underfire.runs.planning import Reporter
from underfire.runs.repair import drop_damaged
from underfire.runs.replacing import remove_parts
from underfire.runs.results import write_results
from underfire.runs.run import Run
from underfire.runs.shards import attack_shard


class Work:
    """The shards of a run that is planned, whether it attacks images or reads those of an earlier attack.

    Args:
        plan: everything that the run works with.
        size: attacked images per shard.
        reporter: hears how the run goes on.
        asked: the batch size that the user asked for, if any.

    Attributes:
        shards: the places of each shard's images among those that the run looked at.
        steps: the number of steps of each shard.
    """

    def __init__(self, plan: Plan, size: int, reporter: Reporter, asked: int | None = None) -> None:
        self.plan, self.reporter = plan, reporter
        if depends_on_batch(plan.experiment.system.classifier.device):
            plan.experiment.batch_size = _same_batch_size(size, asked)
        self.shards = plan.selection.shards(size)
        self.steps = list(count_steps(plan, self.shards))

    @classmethod
    def begun(cls, plan: Plan, reporter: Reporter, asked: int | None = None) -> Work:
        """Cut a run into shards, and check by their hashes what its folder holds of them. Damage is named."""
        store = plan.store
        work = cls(plan, store.shard_size(plan.experiment.batch_size), reporter, asked)
        drop_damaged(store, plan.cells, work.shards, plan.selection.attacked)
        store.update_run(shards=len(work.shards))
        return work

    def has(self, index: int) -> bool:
        """Return True if shard ``index`` is complete for every cell."""
        return all(self.plan.store.has_shard(cell.key, index) for cell in self.plan.cells.values())

    def attack(self, index: int) -> None:
        """Attack and judge shard ``index`` for every cell that does not have it yet.

        Raises:
            UnderfireError: an attack fails, or the folder cannot be written. Finished shards stay.
        """
        before, total = sum(self.steps[:index]), sum(self.steps)

        def advance(part: int) -> None:
            self.reporter.running(before + part, total)

        attack_shard(self.plan, index, self.shards[index], advance, self.reporter.reading)
        self.plan.store.keep_new()
        self.reporter.running(before + self.steps[index], total)

    def finish(self, precision: str) -> dict[str, Any]:
        """Write the tables and the summary of a run whose shards are all there. Returns ``summary.json``'s content.

        Args:
            precision: that of the attacks.
        """
        store, experiment = self.plan.store, self.plan.experiment
        notes = list(experiment.system.classifier.notes)
        store.update_run(classifier_notes=notes, **environment(experiment.view.prepared, precision))
        summary = write_results(Run(store.folder, finished=False))
        remove_parts(store.folder)
        store.update_run(finished=True)
        return summary


def _same_batch_size(begun_with: int, asked: int | None) -> int:
    """Return the batch size that a run began with: on a GPU the last bits of an image's result depend on it."""
    if asked not in (None, begun_with):
        warn(
            f"this run began with a batch size of {begun_with} and goes on with it: on a GPU, results with {asked} "
            "would differ in their last bits."
        )
    return begun_with
