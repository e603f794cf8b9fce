"""Running a campaign in its folder, and trying out how long it will take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Unpack

from underfire.campaigns.folder import NO_NOTES, Campaign, CampaignStore
from underfire.campaigns.grid import Grid
from underfire.campaigns.runner import How, Job, Listener, Quiet, perform
from underfire.campaigns.units import Failure
from underfire.errors import InputError, StoreError
from underfire.files import path_of
from underfire.runs.planning import Reporter


def run_campaign(
    grid: Grid, folder: Path | str, *, resume: bool = False, notes: Mapping[str, str] = NO_NOTES, **how: Unpack[How]
) -> Campaign:
    """Run a campaign: each of its runs in a folder of its own below ``folder/runs``.

    Args:
        grid: the runs.
        folder: made if it does not exist.
        resume: go on with the campaign that the folder holds. Finished runs are checked, and not made again.
        notes: texts that are written into the folder before its record, by the name of their file.
        how: ``engine``, ``execution``, ``keep_going``, ``stop``, ``listener``, ``part``, ``begin_only`` and ``after``;
            see ``runner.How``.

    Returns:
        The campaign, to be read.

    Raises:
        InputError: a run of the grid is impossible, or ``part`` and ``begin_only`` are both given.
        StoreError: the folder holds something else, or cannot be written.
        StoppedError: ``stop`` was asked.
        UnderfireError: a run failed, and ``keep_going`` is not set.
    """
    part, listener = how.get("part"), how.get("listener")
    if part is not None and how.get("begin_only"):
        raise InputError(
            "--part and --begin contradict each other: begin the campaign once with --begin, alone, before its parts."
        )
    folder, points = path_of("folder", folder), grid.points()
    store = CampaignStore(folder, resume or part is not None, notes)
    jobs = [Job(point.name, point.config, folder / "runs" / point.name, resume=True) for point in points]
    if part is not None:
        _check_part(folder, part)
        how["after"] = None  # no run is finished
        perform(jobs, **how)
        return Campaign(folder)
    with store.working():
        store.begin(grid, points)
        how["listener"] = _Noted(store, listener or Quiet())
        perform(jobs, **how)
    return Campaign(folder)


def _check_part(folder: Path, part: tuple[int, int]) -> None:
    waiting = [entry.name for entry in Campaign(folder) if entry.state == "waiting"]
    if waiting:
        raise StoreError(
            f"run {waiting[0]} of the campaign in {folder} is not begun: part {part[0]}/{part[1]} needs runs "
            "that are. Give --begin once, alone, before the parts."
        )


class _Noted:
    """Writes down how far each run is, and passes everything on to another listener."""

    def __init__(self, store: CampaignStore, listener: Listener) -> None:
        self.store, self.listener = store, listener

    def begun(self, job: Job) -> None:
        self._details(job).unlink(missing_ok=True)
        self.store.note(job.name, "begun")
        self.listener.begun(job)

    def finished(self, job: Job) -> None:
        self.store.note(job.name, "finished")
        self.listener.finished(job)

    def failed(self, job: Job, failure: Failure) -> None:
        self.store.note(job.name, "failed", failure.said)
        if failure.details:
            self._details(job).write_text(failure.details, encoding="utf-8")
        self.listener.failed(job, failure)

    def _details(self, job: Job) -> Path:
        """Return the file for the traceback of an error that nobody expected."""
        return self.store.folder / f"{job.name}.error.txt"

    def worked(self, done: int, total: int) -> None:
        self.listener.worked(done, total)

    def reporter(self, job: Job) -> Reporter | None:
        return self.listener.reporter(job)
