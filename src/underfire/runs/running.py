"""Running attacks over a data set: select images, attack and judge them shard by shard, and save the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from underfire.allocation import give_back
from underfire.errors import StoreError
from underfire.files import path_of
from underfire.flags import without_autocast
from underfire.runs.differences import differences
from underfire.runs.evaded import drop_detectors, keep_detectors, kept_detectors
from underfire.runs.execution import Execution
from underfire.runs.finished import is_whole
from underfire.runs.opened import Opened, TermOf
from underfire.runs.planning import Reporter, Silent, code_hashes, detector_hashes, prepare
from underfire.runs.results import current_summary
from underfire.runs.run import Run
from underfire.runs.settings import RunConfig
from underfire.runs.starts import note_start
from underfire.runs.store import Store
from underfire.runs.work import Work


@without_autocast()
def run_attack(
    config: RunConfig,
    folder: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    batch_size: int | None = None,
    memory: int | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
    term_of: TermOf | None = None,
) -> dict[str, Any]:
    """Attack the first ``config.count`` correctly classified images, beside the controls.

    Controls are the clean images, random noise, the attack on the prediction alone, and the clean images read with
    other random numbers, if an interpreter draws any.

    Args:
        config: what to run.
        folder: where everything is written; see ``Store`` and ``Run``.
        resume: go on with the run that the folder holds. Its files are hashed first: a damaged shard is done again,
            with a warning, and an interruption costs the shard in hand.
        overwrite: replace the run that the folder holds. It is removed once every cell of the new run has a complete
            shard; a new run that ends before gives the folder back to it.
        batch_size: images at once, and per shard of a new run; it does not change results. On a GPU
            their last bits depend on it, so that a resumed run keeps the batch size that it began with. If None, as
            many images as suit the device and fit into its memory.
        memory: the largest number of bytes that the process shall have on the device, for a ``batch_size`` of None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        reporter: hears how the run goes on.
        term_of: opens the fitted detectors that ``config`` evades: ``underfire.detectors.evading_term``.

    Returns:
        The content of ``summary.json``.

    Raises:
        UnderfireError: one readable paragraph. Finished shards stay.
    """
    execution = Execution(batch_size, memory, device)
    place, opened = path_of("folder", folder), Opened(term_of)
    hand = RunInHand(config, place, execution, resume=resume, overwrite=overwrite, reporter=reporter, opened=opened)
    if hand.finished:
        return hand.summary()
    with hand.working():
        hand.begin()
        for index in range(len(hand.steps)):
            hand.attack(index)
        return hand.finish()


class RunInHand:
    """A run that is worked on: it is begun, its shards are attacked in any order, and it is finished.

    Everything that makes runs goes through this class: ``run_attack``, and the engines of campaigns, whose workers
    attack the shards of a run that another process has begun.

    Args:
        config: what to run.
        folder: where everything is written; see ``Store`` and ``Run``.
        execution: the settings that results do not depend on.
        resume, overwrite: see ``run_attack``.
        reporter: hears how the run goes on.
        opened: inputs that other runs opened already.
        siblings: folders of runs whose cells may be taken over instead of being computed again.

    Attributes:
        store: the folder.
        work: the shards with everything that they need, from ``begin`` or ``join`` until ``release``.
        steps: the number of steps of each shard.

    Raises:
        StoreError: the folder holds something else, or cannot be written.
    """

    work: Work | None = None
    steps: list[int]

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        execution: Execution,
        *,
        resume: bool = False,
        overwrite: bool = False,
        reporter: Reporter | None = None,
        opened: Opened | None = None,
        siblings: Sequence[Path] = (),
    ) -> None:
        self.config, self.execution, self.siblings = config, execution, tuple(siblings)
        self.reporter, self.opened = reporter or Silent(), opened or Opened()
        self.store = Store(folder, config.to_dict(), resume, overwrite, _changed)

    @property
    def finished(self) -> bool:
        """True if the folder holds all of the run already, undamaged, and it is the run that is asked for."""
        if not self.store.finished:
            return False
        self.store.check_record({**code_hashes(self.config), **detector_hashes(self.config)}, known_only=True)
        whole = is_whole(self.store, lambda: self.opened.depends(self.config, self.execution.device))
        self._check_maskers()
        return whole

    def _check_maskers(self) -> None:
        """Raise StoreError if an interpreter was trained again since the run was begun."""
        held = self.store.read_run().get("interpreters")
        if isinstance(held, dict):  # lists of names are from earlier versions
            now = self.opened.maskers(self.config, self.execution.device)
            self.store.check_record({"interpreters": held | now})

    def summary(self) -> dict[str, Any]:
        """Return the content of ``summary.json`` of a finished run, by today's limit of a kept map."""
        return current_summary(Run(self.store.folder), self.store.summary())

    @contextmanager
    def working(self) -> Iterator[None]:
        """Context that locks the folder; see ``Store.working``."""
        with self.store.working():
            yield

    @without_autocast()
    @torch.inference_mode(False)
    def begin(self) -> None:
        """Settle the plan, and make the folder ready for shards.

        Raises:
            UnderfireError: the run is impossible, or the folder holds another run.
        """
        plan, record = prepare(self.config, self.store, self.execution, self.reporter, self.opened)
        self.store.begin(record)
        keep_detectors(self.store, self.config.evaded)
        note_start(self.store, plan.experiment.system.classifier.device)
        self.store.write_selection(plan.selection)
        plan.siblings = self.siblings
        self.work = Work.begun(plan, self.reporter, self.execution.batch_size)
        self.steps = self.work.steps

    def ready(self) -> Work:
        """Return the work. Raises ValueError if the run is neither begun nor joined."""
        if self.work is None:
            raise ValueError("the run is not begun: call begin or join first.")
        return self.work

    def release(self) -> None:
        """Give the memory of the work free, with the networks in it. ``join`` makes it again."""
        self.work = None
        give_back()

    @without_autocast()
    @torch.inference_mode(False)
    def join(self, *, data: bool = False) -> None:
        """Settle the plan of a run that another process has begun. Nothing is written.

        Args:
            data: check that the data and the detectors to evade, where the settings name them, are those of the run.
                The classifier, the user's files and the detectors in the run's folder are always checked.

        Raises:
            StoreError: the run is not begun, or its inputs are not what they were.
        """
        begun = self.store.read_run()
        if "shards" not in begun:
            raise StoreError(f"the run in {self.store.folder} is not begun.")
        inputs = self.opened.depends(self.config, self.execution.device, data=data)
        places = self.config.evaded if data else kept_detectors(self.store, self.config.evaded)
        self.store.check_record({**inputs, **code_hashes(self.config), **detector_hashes(self.config, places)})
        self._check_maskers()
        plan, _ = prepare(self.config, self.store, self.execution, self.reporter, self.opened, begun)
        plan.siblings = self.siblings
        self.work = Work(plan, int(begun["shard_size"]), self.reporter, self.execution.batch_size)
        self.steps = self.work.steps

    def has(self, index: int) -> bool:
        """Return True if shard ``index`` is complete for every cell."""
        return self.ready().has(index)

    @without_autocast()
    @torch.inference_mode(False)
    def attack(self, index: int) -> None:
        """Attack and judge shard ``index`` for every cell that does not have it yet.

        Raises:
            UnderfireError: an attack fails, or the folder cannot be written. Finished shards stay.
        """
        self.ready().attack(index)

    @without_autocast()
    @torch.inference_mode(False)
    def finish(self) -> dict[str, Any]:
        """Write the tables and the summary of a run whose shards are all there. Returns ``summary.json``'s content."""
        if self.work is None:
            self.join()
        work = self.ready()
        drop_detectors(self.store)  # before the run counts as finished, so that a kill in between leaves none
        return work.finish(self.config.precision)


def _changed(held: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Compare configurations; settings that an earlier version did not have count with their defaults."""
    if now["eps"] is None:  # earlier versions wrote a radius down for attacks without a ball, too
        held = {name: value for name, value in held.items() if name != "eps"}
    return differences(RunConfig.from_values(held).to_dict(), dict(now))
