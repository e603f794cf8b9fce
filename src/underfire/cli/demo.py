"""``underfire demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from underfire.cli import options
from underfire.cli.options import flag, option
from underfire.cli.screen import RunBars, bars

EXAMPLES = """[bold]Example[/bold]

underfire demo --out runs/demo"""

# The runs by folder: interpreters, share of the images, steps. MASK's maps are solved for, which takes longer.
RUNS: dict[str, tuple[tuple[str, ...], float, tuple[int, int]]] = {
    "scenes": (("cam", "grad", "rts"), 1.0, (20, 80)),
    "mask": (("mask:quick",), 0.5, (10, 30)),
}
FILES = {"page.html", "figure.png"}
FORMER = {"cam", "grad", "rts"}
"""Folders that demos of earlier versions wrote, beside ``mask``; they are left alone."""


def demo(
    out: Annotated[Path, option("FOLDER", "Folder for the page, the picture and the runs.", "--out")] = Path(
        "underfire-demo"
    ),
    count: Annotated[int, option("N", "The number of images to attack; MASK gets half of them.", "--count")] = 16,
    seed: Annotated[int, option("N", "Seed of all random numbers.", "--seed")] = 0,
    device: options.Device = "auto",
    as_json: Annotated[bool, flag("--json", "Print the summaries as JSON.")] = False,
) -> None:
    """Attack drawn scenes, and see what happens to each explanation. Takes about two minutes; needs no data.

    For each interpreter: the attack on the prediction alone, the joint attack, and the controls, on the same pictures.
    An earlier demo in the folder is replaced.
    """
    from underfire.reports.figure import write_figure
    from underfire.reports.page import write_page
    from underfire.reports.table import summary_table
    from underfire.runs import Run, RunConfig, run_attack

    refuse_other_files(out)
    summaries, folders = [], []
    with bars() as progress:
        for name, (interpreters, share, steps) in RUNS.items():
            config = RunConfig.create(
                data="scenes:test",
                classifier="scenes-resnet",
                interpreters=interpreters,
                each=len(interpreters) > 1,
                eps="16/255",
                steps=steps,
                count=-(-count // round(1 / share)),
                seed=seed,
            )
            folder = out / name
            summaries.append(
                run_attack(config, folder, overwrite=folder.exists(), device=device, reporter=RunBars(progress, name))
            )
            folders.append(folder)
    title = "underfire demo: ten kinds of object, four explanations"
    page, figure = write_page(folders, out / "page.html", title), write_figure(folders, out / "figure.png", rows=3)
    if as_json:
        typer.echo(
            json.dumps({folder.name: summary for folder, summary in zip(folders, summaries, strict=True)}, indent=2)
        )
        return
    console = Console()
    console.print(summary_table(*map(Run, folders)))
    console.print(Text.assemble("Picture: ", (str(figure), "bold")))
    console.print(Text.assemble("Page:    ", (str(page), "bold"), "  (open it in a browser)"))


def refuse_other_files(out: Path) -> None:
    """Raise InputError if ``out`` holds anything but an earlier demo."""
    from underfire.errors import InputError

    if out.is_dir():
        others = sorted(entry.name for entry in out.iterdir() if entry.name not in FILES | FORMER | set(RUNS))
        if others:
            raise InputError(
                f"out is {str(out)!r}, which holds other files ({others[0]}); expected a new folder, an empty one, or "
                "an earlier demo."
            )
