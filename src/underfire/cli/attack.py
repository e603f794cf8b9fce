"""``underfire attack``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from underfire.cli.configuration import read_configuration, written
from underfire.cli.options import flag, option, takes
from underfire.cli.screen import RunBars, bars, say
from underfire.errors import InputError
from underfire.runs.settings import RunConfig

EXAMPLES = """[bold]Examples[/bold]

underfire attack --data scenes:test --classifier scenes-resnet --interpreter cam,grad --eps 8/255 --steps 40,160 --count 50 --out runs/scenes

underfire attack --data photos/ --classifier my_model.py:build --interpreter grad --attack adv2 --eps 8/255 --count 100 --out runs/mine --resume

underfire attack --config run.toml --seed 1 --out runs/seed1"""  # noqa: E501


@takes(RunConfig, first=("data", "classifier", "interpreters", "readers", "each", "attack"))
def attack(
    out: Annotated[
        Path | None, option("FOLDER", "Folder for results, images and maps. [required]", "--out", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, option("FILE", "TOML file with settings; options override it.", "--config", show_default=False)
    ] = None,
    dump_config: Annotated[
        bool, flag("--dump-config", "Print all settings as TOML for --config, and do nothing else.")
    ] = False,
    batch_size: Annotated[
        str | None,
        option("N", "Images at once; does not change results. [default: auto]", "--batch-size", show_default=False),
    ] = None,
    device: Annotated[
        str | None,
        option("NAME", "Device: auto, cpu, cuda, cuda:1. [default: auto]", "--device", show_default=False),
    ] = None,
    resume: Annotated[bool, flag("--resume", "Go on with the run in the output folder, if there is one.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace the run in the output folder.")] = False,
    no_page: Annotated[bool, flag("--no-page", "Do not write page.html and figure.png.")] = False,
    as_json: Annotated[bool, flag("--json", "Print the summary as JSON.")] = False,
    given: dict[str, Any] = {},  # noqa: B006 (filled by ``takes``)
) -> None:
    """Attack images, judge the outcome beside its controls, and write everything down.

    Writes a page to look at, results.parquet, trace.parquet, summary.json, run.json, the cells with all maps, and the
    judged images to the output folder. The controls are the clean images, random noise, the attack on the prediction
    alone, and, if an interpreter draws random numbers (mask, smoothgrad, captum:Lime and the like), the clean images
    read with other random numbers.
    """
    values = {} if config is None else read_configuration(config, RunConfig)
    own = {name: values.pop(name) for name in ("out", "batch_size", "device") if name in values}
    settings = RunConfig.create(**values | given)
    place, size, where = out or own.get("out"), batch_size or own.get("batch_size"), device or own.get("device")
    if dump_config:
        chosen = {"out": None if place is None else str(place), "batch_size": size, "device": where}
        typer.echo(written(settings, {name: value for name, value in chosen.items() if value is not None}), nl=False)
        return
    if place is None:
        raise InputError("out is missing; expected --out FOLDER, or out in the configuration.")
    _run(settings, Path(place), _batch_size(size), where or "auto", resume, overwrite, page=not no_page, json_=as_json)


def _batch_size(given: str | int | None) -> int | None:
    if given is None or given == "auto":
        return None
    if not (str(given).isdecimal() and int(given)):
        raise InputError(f"batch_size is {given!r}; expected a positive number or 'auto'.")
    return int(given)


def _run(
    settings: RunConfig,
    out: Path,
    batch_size: int | None,
    device: str,
    resume: bool,
    overwrite: bool,
    *,
    page: bool,
    json_: bool,
) -> None:
    from rich.console import Console
    from rich.text import Text

    from underfire.runs import run_attack

    if resume and not (out / "run.json").exists():
        say("note", f"there is no run in {out} to go on with: this one begins there.", "cyan")
    with bars() as progress:
        summary = run_attack(
            settings,
            out,
            resume=resume,
            overwrite=overwrite,
            batch_size=batch_size,
            device=device,
            reporter=RunBars(progress),
        )
    files = "results.parquet, trace.parquet, summary.json, run.json, cells/, images/"
    if page:
        from underfire.reports.figure import write_figure
        from underfire.reports.page import write_page

        files = f"{write_page([out], out / 'page.html').name}, {write_figure([out], out / 'figure.png').name}, {files}"
    if json_:
        typer.echo(json.dumps(summary, indent=2))
        return
    from underfire.reports.table import summary_table
    from underfire.reports.trust import cautions
    from underfire.runs import Run

    console = Console()
    finished = Run(out)
    console.print(summary_table(finished))
    for text in cautions(finished):
        console.print(Text.assemble(("!", "bold yellow"), " ", text))
    console.print(Text.assemble("Written to ", (str(out), "bold"), f": {files}"))
