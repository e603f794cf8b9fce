"""``underfire check``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from underfire.cli import options
from underfire.cli.options import Given, flag, option, takes
from underfire.memory import bytes_of
from underfire.runs.inputs import InputSettings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from underfire.check import Check

EXAMPLES = """[bold]Examples[/bold]

underfire check --data scenes:test --classifier scenes-resnet

underfire check --data scenes:test --classifier scenes-resnet --interpreter cam,my_file.py:Mine

underfire check --data photos/ --classifier torchvision:resnet50 --weights resnet50.pth --class-map index.json --json"""

MARKS = {"good": ("ok", "green"), "hint": ("look", "yellow"), "problem": ("no", "red")}


@takes(InputSettings)
def check(
    given: Given,
    count: Annotated[int, option("N", "The number of images to look at.", "--count")] = 64,
    interpreter: Annotated[
        str,
        option(
            "NAMES", "The interpreters to try, also my_file.py:name. [default: all that are known]", "--interpreter"
        ),
    ] = "",
    memory: Annotated[
        str | None, option("SIZE", "The most memory that the check shall have. [default: what is free]", "--memory")
    ] = None,
    device: options.Device = "auto",
    as_json: Annotated[bool, flag("--json", "Print everything as JSON.")] = False,
) -> None:
    """Check that an attack can run on a classifier; say what it would cost, and what looks wrong.

    Exit code 0 if an attack can run, 1 if not, 2 for wrong usage.
    """
    from underfire.cli.lines import status
    from underfire.cli.screen import screen

    config, most = InputSettings.create(**given), bytes_of(memory)
    with status(screen, "starting") as tell:
        from underfire.check import run_check  # these take seconds
        from underfire.runs.devices import find_device
        from underfire.runs.settings import parse_interpreters

        names = parse_interpreters(interpreter) if interpreter else ()
        found = run_check(config, count, find_device(device), tell, most, names)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False, default=str))
    else:
        from rich.console import Console

        Console().print(shown(found))
    if not found.ready:
        raise typer.Exit(1)


def shown(found: Check) -> RenderableType:
    """Lay out the verdict, the lines and the interpreters for a terminal of 80 columns. Names are never markup."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), pad_edge=False, show_header=False)
    for column in ("state", "topic"):
        table.add_column(column, no_wrap=True)
    table.add_column("text", overflow="fold")
    for line in found.lines:
        table.add_row(Text(*MARKS[line.state]), Text(line.topic), Text(line.text))
    parts: list[RenderableType] = [Text(found.verdict, style="bold green" if found.ready else "bold red"), table]
    if found.trials:
        parts += [Text(), _interpreters(found)]
    for names, problem in _problems(found).items():
        parts.append(Text.assemble((f"{names}: ", "bold"), problem))
    if any(trial.speed for trial in found.trials):
        parts.append(
            Text(
                "Milliseconds per image. 100 images: ADV2 and its prediction-only control with all steps of the "
                "'paper' preset; early stops and --steps 40,160 make it shorter.",
                style="dim",
            )
        )
    return Group(*parts)


def _problems(found: Check) -> dict[str, str]:
    """List why interpreters do not work. Those that differ in their own names alone share one text."""
    shared: dict[str, tuple[list[str], str]] = {}
    for trial in found.trials:
        if not trial.works:
            problem = trial.problem or ""
            shared.setdefault(problem.partition(" ")[2], ([], problem))[0].append(trial.name)
    return {", ".join(names): problem for names, problem in shared.values()}


def _interpreters(found: Check) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("interpreter")
    table.add_column("works")
    for column in ("forward", "step", "joint step", "100 images"):
        table.add_column(column, justify="right")
    for trial in found.trials:
        mark = Text(*MARKS["good" if trial.works else "problem"])
        speed = trial.speed
        if speed is None:
            table.add_row(Text(trial.name), mark)
            continue
        times = [f"{value:.2f}" for value in (speed.forward, speed.step, speed.joint)]
        table.add_row(Text(trial.name), mark, *times, _duration(speed.run_seconds))
    return table


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
