"""``underfire demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from underfire.cli.screen import RunBars, bars

EXAMPLES = """[bold]Example[/bold]

underfire demo --out runs/demo"""

INTERPRETERS = ("cam", "gradcam", "grad")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page, the picture and the runs.")] = Path("underfire-demo"),
    count: Annotated[int, typer.Option(help="Images to attack.")] = 16,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
) -> None:
    """Attack drawn scenes, and see what happens to each explanation. Takes under a minute; needs no data.

    For each interpreter: the attack on the prediction alone, the joint attack, and their controls, on the same
    pictures. An earlier demo in the folder is replaced.
    """
    from underfire.campaigns import RunConfig, run_attack
    from underfire.reports.figure import write_figure
    from underfire.reports.page import write_page
    from underfire.reports.table import summary_table

    summaries, folders = [], []
    with bars() as progress:
        for name in INTERPRETERS:
            config = RunConfig.create(
                data="scenes:test",
                classifier="scenes-resnet",
                interpreters=(name,),
                eps="16/255",
                steps=(20, 80),
                count=count,
                seed=seed,
            )
            folder = out / name
            summaries.append(
                run_attack(config, folder, overwrite=folder.exists(), device=device, reporter=RunBars(progress, name))
            )
            folders.append(folder)
    title = "underfire demo: ten kinds of object, three explanations"
    page, figure = write_page(folders, out / "page.html", title), write_figure(folders, out / "figure.png", rows=3)
    if as_json:
        typer.echo(json.dumps(dict(zip(INTERPRETERS, summaries, strict=True)), indent=2))
        return
    console = Console()
    console.print(summary_table(*summaries))
    console.print(Text.assemble("Picture: ", (str(figure), "bold")))
    console.print(Text.assemble("Page:    ", (str(page), "bold"), "  (open it in a browser)"))
