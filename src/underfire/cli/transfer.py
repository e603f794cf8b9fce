"""``underfire transfer``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from underfire.cli import options
from underfire.cli.options import flag, option
from underfire.files import beside
from underfire.memory import bytes_of

EXAMPLES = """[bold]Examples[/bold]

underfire transfer runs/mine --interpreter cam,grad,mask

underfire transfer runs/mine --classifier cifar10-densenet --classifier my_model.py:build --out runs/others"""


def transfer(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished run.")],
    classifier: Annotated[
        list[str] | None,
        option(
            "NAME",
            "A classifier that reads the images, written as for 'underfire attack'. Can be repeated. [default: the "
            "run's own]",
            "--classifier",
            show_default=False,
        ),
    ] = None,
    interpreter: Annotated[
        list[str] | None,
        option(
            "NAMES",
            "Interpreters that read, with commas or by repeating the option. [default: those of the run, attacked or "
            "not]",
            "--interpreter",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option("FOLDER", "Folder for the results. [default: DIR-transfer]", "--out", show_default=False),
    ] = None,
    same_classes: Annotated[
        bool, flag("--same-classes", "Class numbers mean the same to all classifiers, although the names differ.")
    ] = False,
    batch_size: Annotated[
        int | None,
        option("N", "Images at once. [default: what suits the device]", "--batch-size", min=1, show_default=False),
    ] = None,
    memory: Annotated[
        str | None,
        option("SIZE", "The most memory to take. [default: what is free]", "--memory", show_default=False),
    ] = None,
    device: options.Device = "auto",
    resume: Annotated[bool, flag("--resume", "Go on with the transfer in the output folder.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace the transfer in the output folder.")] = False,
    no_page: Annotated[bool, flag("--no-page", "Write no page.html.")] = False,
    as_json: Annotated[bool, flag("--json", "Print all results as JSON.")] = False,
) -> None:
    """Read the images of a finished run with other classifiers and interpreters. Nothing is attacked again.

    Says how often the target class is reached on another classifier, and how often another interpreter's map is kept.
    The limit of "kept" is made anew for each classifier and interpreter, with its controls. Only images that the
    other classifier gets right when clean count. The saved images go through the other classifier's own preparation,
    which resizes them if it takes another size.

    Writes page.html with the matrices, transfer.csv and, for each classifier, a run folder for 'underfire report'.
    """
    from rich.console import Console
    from rich.text import Text

    from underfire.cli.screen import RunBars, bars
    from underfire.reports.transfer import transfer_tables
    from underfire.reports.transfer_page import write_transfer_page
    from underfire.runs.settings import parse_interpreters
    from underfire.runs.transfer import transfer as read_again

    place = out or beside(folder, "-transfer")
    names = [name for each in interpreter or () for name in parse_interpreters(each)]
    with bars() as progress:
        found = read_again(
            folder,
            classifier,
            names or None,
            place,
            resume=resume,
            overwrite=overwrite,
            same_classes=same_classes,
            batch_size=batch_size,
            memory=bytes_of(memory),
            device=device,
            reporters=lambda name: RunBars(progress, f"by {name}"),
        )
    if not no_page:
        write_transfer_page(found.rows(), place / "page.html")
    if as_json:
        typer.echo(json.dumps(found.rows(), indent=2))
        return
    console, files = Console(), "transfer.csv" if no_page else "page.html, transfer.csv"
    console.print(transfer_tables(found))
    console.print(Text.assemble("Written to ", (str(place), "bold"), f": {files}, and a run for each classifier"))
