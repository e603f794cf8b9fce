"""The work of ``underfire reproduce``: its options become a campaign, tables and pages."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from underfire.attacks.perturbations import parse_eps
from underfire.attacks.presets import parse_steps
from underfire.campaigns.engines import Inline, Processes
from underfire.campaigns.file import write_grid
from underfire.campaigns.grid import Grid
from underfire.campaigns.reproduce.defending import lacking
from underfire.campaigns.reproduce.grids import MASKER, Choice, grid_of
from underfire.campaigns.reproduce.judging import sentence
from underfire.campaigns.reproduce.papers import Item, Paper, paper
from underfire.campaigns.reproduce.reproducing import Reproduction, collected, reproduce
from underfire.cli.configuration import read_configuration
from underfire.cli.dry_run import show_estimate
from underfire.cli.screen import ManyRuns, RunBars, bars
from underfire.cli.stopping import stopping
from underfire.errors import InputError, StoppedError
from underfire.reports.reproduction.write import write_reproduction
from underfire.runs.execution import Execution, ExecutionSettings, ScoringSettings
from underfire.runs.settings import RunConfig, parse_interpreters
from underfire.settings import create, settings_of
from underfire.zoo.recipes import weights_file


@dataclass(frozen=True)
class Wanted:
    """The options of ``underfire reproduce``, as they were given."""

    paper: str
    items: list[str]
    settings: dict[str, Any]
    execution: dict[str, Any]
    classifiers: list[str]
    interpreters: str
    counts: list[str]
    defended: list[str]
    config: Path | None
    resume: bool
    workers: int | None


def perform(wanted: Wanted, task: Literal["list", "dump", "dry run", "show", "run"]) -> None:
    """Carry out one task of ``underfire reproduce``."""
    console, about = Console(), paper(wanted.paper)
    if task == "list":
        _list(console, about)
        return
    items = about.chosen(wanted.items)
    held = (
        {}
        if wanted.config is None
        else read_configuration(wanted.config, (RunConfig, ExecutionSettings, ScoringSettings))
    )
    execution = {name: held.pop(name) for name in settings_of(ExecutionSettings) if name in held} | wanted.execution
    if held.pop("detectors", ()):
        raise InputError("config sets detectors, and the tables on detectors fit their own: remove it from the file.")
    if task == "show":
        folder = Path(create(ExecutionSettings, execution).out).expanduser()
        _write(console, collected(about, items, folder), folder)
        return
    choice = _choice(held | wanted.settings, wanted.classifiers, wanted.interpreters, wanted.counts, wanted.defended)
    if task == "dump":
        typer.echo(write_grid(_planned(about, items, choice)), nl=False)
        return
    settings = create(ExecutionSettings, execution)
    how = Execution(settings.batch_size, settings.memory, settings.device)
    if task == "dry run":
        show_estimate(_planned(about, items, choice), how, wanted.workers or 1)
        return
    _run(console, about, items, choice, Path(settings.out).expanduser(), how, wanted)


def _planned(about: Paper, items: list[Item], choice: Choice) -> Grid:
    """Plan the runs. Raises InputError if there are none, as for tables that only measure trained defenses."""
    missing = lacking(items, choice)
    grid = grid_of(about, [item for item in items if item.name not in missing], choice)
    if not grid.include:
        reasons = " ".join(f"{name} is {reason}" for name, reason in missing.items())
        raise InputError(reasons or "these items make no runs: they measure the defenses themselves. Make them.")
    return grid


def _run(
    console: Console, about: Paper, items: list[Item], choice: Choice, folder: Path, how: Execution, wanted: Wanted
) -> None:
    workers = wanted.workers
    with bars() as progress, stopping() as stop:
        try:
            found = reproduce(
                about,
                items,
                choice,
                folder,
                execution=how,
                resume=wanted.resume,
                engine=Processes(workers) if workers and workers > 1 else Inline(),
                stop=stop,
                listener=ManyRuns(progress),
                reporters=lambda name: RunBars(progress, name),
            )
        except StoppedError as error:
            again = [*sys.argv[1:], *([] if wanted.resume else ["--resume"])]
            raise StoppedError(f"{error} Go on with: {shlex.join(['underfire', *again])}") from error
    _write(console, found, folder)


SET_BY_PAPER = ("attack", "perturbation", "target_map", "interpreters", "readers", "each", "classifier")
"""Settings that every run of a paper has for itself."""


def _choice(
    asked: dict[str, Any], classifiers: list[str], interpreters: str, counts: list[str], defended: list[str]
) -> Choice:
    """Turn options, and settings of a file, into what a reproduction is made with.

    Raises:
        InputError: a setting is missing, impossible, or set by the paper itself.
    """
    for name in SET_BY_PAPER:
        if name in asked:
            raise InputError(f"config sets {name}, and every run of a paper has its own: remove it from the file.")
    for name, given in (("data", asked.get("data")), ("classifier", classifiers)):
        if not given:
            raise InputError(f"{name} is missing: give --{name}, as for 'underfire attack'.")
    steps, eps = asked.pop("steps", None), asked.pop("eps", None)
    if isinstance(eps, list | tuple):
        if len(eps) != 1:
            raise InputError(f"config sets {len(eps)} radii as eps; the tables of a paper have one.")
        eps = eps[0]
    for each in defended:
        name = each.removeprefix(MASKER)
        if not (Path(name).expanduser().exists() or weights_file(name).exists()):
            raise InputError(
                f"defended is {each!r}, and there is no such file or folder; expected rts:FOLDER for a masker by "
                "'underfire train aid', or for 'underfire train robust' its weights or a classifier that ships."
            )
    choice = Choice(
        classifiers=classifiers,
        interpreters=[name for name in parse_interpreters(interpreters) if name],
        steps=parse_steps(steps) if isinstance(steps, str) else steps,
        budget=asked.pop("budget", None),
        eps=parse_eps(eps) if isinstance(eps, str) else eps,
        counts=_counts(counts, asked.pop("count", None)),
        settings=asked,
        defended=list(dict.fromkeys(defended)),
    )
    _ = choice.labels  # names that tables cannot tell apart are refused before the runs
    return choice


def _counts(texts: list[str], default: int | None) -> dict[str, int]:
    """Parse ``N`` and ``INTERPRETER:N``."""
    found = {} if default is None else {"": default}
    for text in texts:
        name, _, number = text.rpartition(":")
        if not number.isdecimal() or int(number) < 1:
            raise InputError(f"count is {text!r}; expected a number of images, or INTERPRETER:N, such as mask:8.")
        found[name] = int(number)
    return found


def _list(console: Console, paper: Paper) -> None:
    """Print a paper's tables and figures."""
    console.print(Text(f"{paper.title}\n{paper.source}\n"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in paper.items:
        table.add_row(Text(item.name, "bold"), Text(f"{item.title}{' (needs --defended)' if item.defense else ''}"))
    for name, reason in paper.elsewhere.items():
        table.add_row(Text(name, "dim"), Text(f"not made: {reason}", "dim"))
    console.print(table)


def _write(console: Console, found: Reproduction, folder: Path) -> None:
    """Write a reproduction, and print the claims with their verdicts."""
    judgements, written = write_reproduction(found, folder)
    for judgement in judgements:
        if judgement.cases:
            text = Text(f"{judgement.claim.text} ")
            text.append(judgement.verdict.capitalize(), "bold").append(f". {sentence(judgement)}\n")
            console.print(text)
    for name, reason in found.missing.items():
        console.print(Text.assemble((f"{name}: ", "bold yellow"), reason))
    console.print(Text(f"Written to {' and '.join(map(str, written))}"))
