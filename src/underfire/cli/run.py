"""``underfire run``: campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from underfire.cli.dry_run import show_estimate
from underfire.cli.options import Given, flag, option, takes
from underfire.cli.screen import ManyRuns, bars, say
from underfire.cli.status import show
from underfire.cli.stopping import saying_how_to_go_on, stopping
from underfire.errors import InputError, UnderfireError
from underfire.runs.execution import ExecutionSettings
from underfire.settings import create

if TYPE_CHECKING:
    from underfire.reports.tracking import Tracking

RUN_EXAMPLES = """[bold]Examples[/bold]

underfire run campaign.toml --out runs/grid --dry-run

underfire run campaign.toml --out runs/grid --workers 2

underfire run campaign.toml --out runs/grid --resume

[bold]A campaign file[/bold]

See docs/campaigns.md: [settings] for all runs, lists in [grid], then [[include]], [[exclude]] and [[change]]."""

Workers = Annotated[
    int | None,
    option(
        "N",
        "Processes of this machine that share the work; with --ray, parts at once.",
        "--workers",
        min=1,
        show_default=False,
    ),
]

Track = Annotated[
    str | None,
    option(
        "NAME",
        "Log finished runs, with settings, numbers, tables and page: mlflow, wandb, or file.py:Class.",
        "--track",
        show_default=False,
    ),
]


@takes(ExecutionSettings)
def run(
    given: Given,
    campaign: Annotated[Path, typer.Argument(metavar="FILE", help="The campaign file (TOML).", show_default=False)],
    resume: Annotated[bool, flag("--resume", "Go on with the campaign in the output folder.")] = False,
    workers: Workers = None,
    ray: Annotated[
        str | None,
        option(
            "ADDRESS", "Use a Ray cluster: its address, auto, or local for this machine.", "--ray", show_default=False
        ),
    ] = None,
    fail_fast: Annotated[
        bool, flag("--fail-fast/--keep-going", "Stop at the first run that fails, or go on with the others.")
    ] = False,
    part: Annotated[
        str | None,
        option(
            "I/N", "Do the I-th of N parts beside other processes, and finish no run.", "--part", show_default=False
        ),
    ] = None,
    begin: Annotated[bool, flag("--begin", "Only begin all runs, for processes that do parts.")] = False,
    dry_run: Annotated[
        bool, flag("--dry-run", "Print the runs, their time and their size, and do nothing else.")
    ] = False,
    no_page: Annotated[bool, flag("--no-page", "Write no page.html and figure.png.")] = False,
    track: Track = None,
) -> None:
    """Run a campaign: a grid of attacks, each in a folder of its own below FOLDER/runs.

    The file has [settings] for all runs, named as in 'underfire attack --dump-config'; lists in [grid], of which every
    combination is a run; [[include]] and [[exclude]] for further and fewer runs; and [[change]] with where and set for
    other settings of some runs. agreed = true attacks only images that all classifiers get right;
    detectors = [FOLDER, ...] score the images of finished runs.

    Parts that several runs share are computed once. A run that fails is noted, and the others go on. Ctrl-C finishes
    the part in hand; --resume goes on, checks all files, and does damaged parts again. With --track, a run that the
    tracker has already is not logged again.
    """
    from underfire.campaigns.engines import Inline, Processes
    from underfire.campaigns.file import read_grid
    from underfire.campaigns.running import run_campaign
    from underfire.reports.detected import check_those_that_fit, read_target
    from underfire.reports.tracking import Tracking
    from underfire.runs.execution import Execution

    settings = create(ExecutionSettings, given)
    if part is not None and ray is not None:
        raise InputError("--part and --ray contradict each other: Ray shares out all of the work. Leave --part out.")
    execution = Execution(settings.batch_size, settings.memory, settings.device)
    grid, out = read_grid(campaign), Path(settings.out).expanduser()
    for folder in grid.detectors:
        read_target(folder)  # a folder without a detector is an error before any work
    if dry_run:
        show_estimate(grid, execution, workers or 1)
        return
    engine: Any = Processes(workers) if workers and workers > 1 else Inline()
    if ray is not None:
        from underfire.campaigns.engines.on_ray import OnRay

        engine = OnRay(None if ray == "local" else ray, workers)
    tracking = None if track is None else Tracking(track, grid.name)
    with saying_how_to_go_on(resume or part is not None), bars() as progress, stopping() as stop:
        listener = ManyRuns(progress)
        ended = run_campaign(
            grid,
            out,
            resume=resume,
            engine=engine,
            execution=execution,
            keep_going=not fail_fast,
            stop=stop,
            listener=listener,
            part=_part(part),
            begin_only=begin,
            before=partial(check_those_that_fit, folders=grid.detectors) if grid.detectors else None,
            after=partial(_after, not no_page, tracking, grid.detectors, execution.device),
        )
    if not (no_page or part or begin):
        from underfire.reports.campaign import write_campaign_page

        write_campaign_page(ended)
    show(out)
    finished = [entry.name for entry in ended if entry.state == "finished"]
    hashes = {ended.run(name).record.get("classifier_sha256") for name in finished}
    for folder in grid.detectors if finished else ():
        if read_target(folder) not in hashes:
            say(
                "note",
                f"the detector in {folder} was fitted for no classifier of a finished run: it scored nothing.",
                "cyan",
            )
    if listener.failures:
        said, again = ("what the table says", "--resume") if part is None else ("what is said above", "the same --part")
        raise UnderfireError(
            f"{listener.failures} of {len(ended)} runs failed; the others are as shown. Mend {said}, and go on with "
            f"{again}."
        )


def _after(
    page: bool, tracking: Tracking | None, detectors: Sequence[str], device: str, job: Any, summary: Any
) -> None:
    """Score a finished run with detectors, write its page, and log it."""
    from underfire.reports.campaign import write_run_page
    from underfire.reports.detected import score_those_that_fit
    from underfire.runs.devices import find_device
    from underfire.runs.run import Run

    if detectors:
        score_those_that_fit(Run(job.folder), detectors, find_device(device))

    if page:
        write_run_page(job.folder)
    if tracking is not None:
        tracking.log(job.folder, job.name)


def _part(text: str | None) -> tuple[int, int] | None:
    """Parse ``I/N``."""
    if text is None:
        return None
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise InputError(f"part is {text!r}; expected I/N with 1 <= I <= N, such as 3/50.")
    return int(first), int(count)
