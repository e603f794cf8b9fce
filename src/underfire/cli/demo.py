"""``underfire demo``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from underfire.cli import options
from underfire.cli.options import flag, option
from underfire.cli.screen import RunBars, bars, say

EXAMPLES = """[bold]Examples[/bold]

underfire demo --out runs/demo

underfire demo --scenes --out runs/scenes"""


@dataclass(frozen=True)
class Part:
    """One run of a demo.

    Args:
        data: the images.
        classifier: the name of the classifier.
        interpreters: each is attacked alone.
        eps: the largest change of a pixel.
        attack: settings of the attack: its name, and its steps or budget.
        share: the share of the demo's images that this run attacks.
    """

    data: str
    classifier: str
    interpreters: tuple[str, ...]
    eps: str
    attack: Mapping[str, Any]
    share: float = 1.0


@dataclass(frozen=True)
class Demo:
    """A demo.

    Args:
        runs: the runs by the name of their folder.
        title: the title of the page.
        count: the number of images.
        rows: the number of images in the picture.
    """

    runs: Mapping[str, Part]
    title: str
    count: int
    rows: int


PHOTOS = Demo(
    {"photos": Part("photos", "imagenet-lite0", ("cam",), "2/255", {"attack": "auto", "budget": 100})},
    "underfire demo: five photographs, and CAM as the explanation",
    count=5,
    rows=5,
)
# MASK's maps are solved for, which takes longer: fewer images and steps.
SCENES = Demo(
    {
        "scenes": Part("scenes:test", "scenes-resnet", ("cam", "grad", "rts"), "16/255", {"steps": (20, 80)}),
        "mask": Part("scenes:test", "scenes-resnet", ("mask:quick",), "16/255", {"steps": (10, 30)}, 0.5),
    },
    "underfire demo: ten kinds of object, four explanations",
    count=16,
    rows=3,
)
FILES = {"page.html", "page_files", "figure.png"}
FORMER = {"cam", "grad", "rts"}
"""Folders that demos of earlier versions wrote, beside ``mask``; they are left alone."""


def demo(
    out: Annotated[Path, option("FOLDER", "Folder for the page, the picture and the runs.", "--out")] = Path(
        "underfire-demo"
    ),
    scenes: Annotated[
        bool, flag("--scenes", "Attack drawn scenes with known masks, also if photographs are available.")
    ] = False,
    count: Annotated[
        int | None,
        option(
            "N",
            "The number of images to attack: of 5 photographs, or any number of scenes, of which MASK gets half. "
            "[default: 5 photographs or 16 scenes]",
            "--count",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, option("N", "Seed of all random numbers.", "--seed")] = 0,
    device: options.Device = "auto",
    as_json: Annotated[bool, flag("--json", "Print the summaries as JSON.")] = False,
) -> None:
    """Attack photographs, and see what happens to each explanation. Takes about two minutes; needs no data.

    For each interpreter: the attack on the prediction alone, the joint attack, and the controls, on the same images.
    Without the extra "photos" (pip install 'underfire[photos]'), the images are drawn scenes. An earlier demo in the
    folder is replaced.
    """
    from underfire.reports.figure import write_figure
    from underfire.reports.page import write_page
    from underfire.reports.table import summary_table
    from underfire.runs import Run, RunConfig, run_attack

    refuse_other_files(out)
    chosen = SCENES if scenes or not photographs_installed() else PHOTOS
    if chosen is SCENES and not scenes:
        say("note", "this demo is of drawn scenes; for photographs: pip install 'underfire[photos]'.", "cyan")
    summaries, folders = [], []
    with bars() as progress:
        for name, part in chosen.runs.items():
            config = RunConfig.create(
                data=part.data,
                classifier=part.classifier,
                interpreters=part.interpreters,
                each=len(part.interpreters) > 1,
                eps=part.eps,
                **part.attack,
                count=math.ceil((chosen.count if count is None else count) * part.share),
                seed=seed,
            )
            folder = out / name
            summaries.append(
                run_attack(config, folder, overwrite=folder.exists(), device=device, reporter=RunBars(progress, name))
            )
            folders.append(folder)
    runs = [Run(folder) for folder in folders]
    page = write_page(runs, out / "page.html", chosen.title)
    figure = write_figure(runs, out / "figure.png", rows=chosen.rows)
    if as_json:
        typer.echo(
            json.dumps({folder.name: summary for folder, summary in zip(folders, summaries, strict=True)}, indent=2)
        )
        return
    console = Console()
    console.print(summary_table(*runs))
    console.print(Text.assemble("Picture: ", (str(figure), "bold")))
    console.print(Text.assemble("Page:    ", (str(page), "bold"), "  (open it in a browser)"))


def photographs_installed() -> bool:
    """Return True if the extra ``photos`` is installed: the photographs, and the weights of their classifier."""
    from underfire.zoo.imagenet import IMAGENET

    return IMAGENET["imagenet-lite0"].installed and find_spec("skimage") is not None


def refuse_other_files(out: Path) -> None:
    """Raise InputError if ``out`` holds anything but an earlier demo."""
    from underfire.errors import InputError

    known = FILES | FORMER | set(PHOTOS.runs) | set(SCENES.runs)
    if out.is_dir():
        others = sorted(entry.name for entry in out.iterdir() if entry.name not in known)
        if others:
            raise InputError(
                f"out is {str(out)!r}, which holds other files ({others[0]}); expected a new folder, an empty one, or "
                "an earlier demo."
            )
