"""``underfire attack``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from underfire.cli.configuration import read_configuration, written
from underfire.cli.options import USAGE_ERROR, Given, flag, option, takes
from underfire.cli.run import Track, Workers
from underfire.cli.screen import OneRun, bars, say, warn_of
from underfire.cli.stopping import saying_how_to_go_on, stopping
from underfire.errors import UnderfireError
from underfire.runs.execution import Execution, ExecutionSettings, ScoringSettings
from underfire.runs.inputs import InputSettings
from underfire.runs.settings import RunAttackSettings, RunConfig, RunSettings
from underfire.settings import Problems, create, required, settings_of, to_values

if TYPE_CHECKING:
    from underfire.campaigns.engines import Engine
    from underfire.detectors import FittedDetector
    from underfire.reports.detected import Detected
    from underfire.runs import Run
    from underfire.runs.running import RunInHand

EXAMPLES = """[bold]Examples[/bold]

underfire attack --data scenes:test --classifier scenes-resnet --interpreter cam,grad --eps 8/255 --steps 40,160
--count 50 --out runs/scenes

underfire attack --data photos/ --classifier my_model.py:build --interpreter grad --attack adv2 --eps 8/255
--count 100 --out runs/mine --resume

underfire attack --data photos/ --classifier torchvision:resnet50 --interpreter cam,grad --each
--eps 2/255,4/255,8/255 --count 100 --out runs/radii

underfire attack --config run.toml --seed 1 --out runs/seed1"""


MODELS = (RunSettings, RunAttackSettings, InputSettings, ExecutionSettings, ScoringSettings)
"""All settings that the command line and the file of ``--config`` may hold, in the order of the help text."""
PANELS: Mapping[type, str] = {RunAttackSettings: "The attack", RunSettings: "The run"}


@takes(*MODELS, demand=False, panels=PANELS)
def attack(
    context: typer.Context,
    given: Given,
    config: Annotated[
        Path | None,
        option(
            "FILE",
            "TOML file with settings, named as in --dump-config; options override it.",
            "--config",
            show_default=False,
        ),
    ] = None,
    dump_config: Annotated[
        bool, flag("--dump-config", "Print all settings as TOML for --config, and do nothing else.")
    ] = False,
    resume: Annotated[bool, flag("--resume", "Go on with the run in the output folder, if there is one.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace the run in the output folder.")] = False,
    workers: Workers = None,
    no_page: Annotated[bool, flag("--no-page", "Do not write page.html and figure.png.")] = False,
    as_json: Annotated[bool, flag("--json", "Print the summary as JSON.")] = False,
    track: Track = None,
) -> None:
    """Attack images, compare the result with its controls, and save all results.

    Writes a page to look at, results.parquet, trace.parquet, summary.json, run.json, the judged images, and cells/ (one
    folder for each attack or control, with its maps) to the output folder. The controls are the clean images, random
    noise, the attack on the prediction alone, and, if an interpreter draws random numbers (mask, smoothgrad,
    captum:Lime and the like), the clean images read with other random numbers. A map counts as kept below a limit that
    random noise sets, lowered until other images' maps seldom pass; the chance control shows how often they do.
    """
    values = ({} if config is None else read_configuration(config, MODELS)) | given
    if dump_config:
        values.setdefault("out", "")
    needed = [f"--{name}" for model in (RunConfig, ExecutionSettings) for name in required(model) if name not in values]
    if needed:
        raise USAGE_ERROR(f"Missing {' and '.join(needed)}: give it here, or in the file of --config.", ctx=context)
    settings, execution, scoring = _checked(values)
    if dump_config:
        shown = settings.to_dict() | to_values(execution) | to_values(scoring) | {"out": execution.out or None}
        shown |= dict.fromkeys(_settled(values))
        typer.echo(written(shown, MODELS), nl=False)
        return
    _run(settings, execution, scoring, resume, overwrite, workers, page=not no_page, json_=as_json, track=track)


def _checked(values: Mapping[str, Any]) -> tuple[RunConfig, ExecutionSettings, ScoringSettings]:
    """Make all parts of the configuration, and report the problems of all."""
    own, scored = (
        {name: value for name, value in values.items() if name in settings_of(model)}
        for model in (ExecutionSettings, ScoringSettings)
    )
    problems = Problems()
    with problems.noted():
        execution = create(ExecutionSettings, own)
    with problems.noted():
        scoring = create(ScoringSettings, scored)
    with problems.noted():
        rest = {name: value for name, value in values.items() if name not in own | scored}
        settings = RunConfig.from_values(rest)
    problems.report()
    return settings, execution, scoring


def _settled(values: Mapping[str, Any]) -> list[str]:
    """List the settings that were not given, and whose default is settled later.

    They stay comments in a dumped configuration, so that an option beside ``--config`` can change what they depend on.
    """
    known = {name: field for model in MODELS for name, (field, _) in settings_of(model).items()}
    return [name for name, field in known.items() if field.default is None and values.get(name) is None]


def _run(
    settings: RunConfig,
    given: ExecutionSettings,
    scoring: ScoringSettings,
    resume: bool,
    overwrite: bool,
    workers: int | None,
    *,
    page: bool,
    json_: bool,
    track: str | None,
) -> None:
    from underfire.campaigns.engines import Inline, Processes
    from underfire.campaigns.runner import Job, perform
    from underfire.reports.detected import score
    from underfire.reports.tracking import Tracking
    from underfire.runs import Run

    out = Path(given.out).expanduser()
    if resume and not os.path.exists(out / "run.json"):
        say("note", f"there is no run in {out} to go on with: this one begins there.", "cyan")
    execution = Execution(given.batch_size, given.memory, given.device)
    engine: Engine = Processes(workers) if workers and workers > 1 else Inline()
    summary: dict[str, Any] = {}
    fitted = _fitted(settings, scoring, given.device)  # a detector that does not fit is an error before any work
    tracking = None if track is None else Tracking(track)  # an unknown tracker is an error before any work
    with saying_how_to_go_on(resume), bars() as progress, stopping() as stop:
        perform(
            [Job(out.name, settings, out, resume, overwrite)],
            engine=engine,
            execution=execution,
            keep_going=False,
            stop=stop,
            listener=OneRun(progress),
            before=partial(_check, fitted),
            after=lambda job, found: summary.update(found),
        )
    finished = Run(out)  # one for all reports: its limits are made once
    detected, problem = None, None
    try:
        detected = score(finished, fitted) if fitted else None
    except UnderfireError as error:  # such as one that has seen the images of a finished run: it is shown all the same
        problem = error
    files = "results.parquet, trace.parquet, summary.json, run.json, cells/, images/"
    if page:
        from underfire.reports.figure import write_figure
        from underfire.reports.page import write_page

        page_file = write_page([finished], out / "page.html")
        figure_file = write_figure([finished], out / "figure.png")
        files = f"{page_file.name}, {figure_file.name}, {files}"
    if tracking is not None:
        tracking.log(out, out.resolve().name)
    if json_:
        typer.echo(json.dumps(summary if detected is None else summary | {"detection": detected.rows}, indent=2))
    else:
        _show(finished, detected, files)
    if problem is not None:
        raise problem


def _show(finished: Run, detected: Detected | None, files: str) -> None:
    """Print the table of a finished run, what speaks against its numbers, and what was written."""
    from rich.console import Console
    from rich.text import Text

    from underfire.reports.detection import detection_tables
    from underfire.reports.table import summary_table

    console = Console()
    console.print(summary_table(finished))
    warn_of([finished], console)
    if detected is not None:
        console.print(detection_tables(detected.rows))
        files = f"{files}, detection.json, detection.csv, scores.csv"
    console.print(Text.assemble("Written to ", (str(finished.path), "bold"), f": {files}"))


def _check(fitted: list[FittedDetector], hand: RunInHand) -> None:
    """Check that no detector has seen the images to attack, before they are attacked."""
    from underfire.detectors.scoring import check_begun

    for each in fitted:
        check_begun(each, hand)


def _fitted(settings: RunConfig, scoring: ScoringSettings, device: str) -> list[FittedDetector]:
    """Open the detectors that shall score the run's images."""
    from underfire.reports.detected import opened
    from underfire.runs.devices import find_device

    return opened(scoring.detectors, settings.load_classifier(find_device(device))) if scoring.detectors else []
