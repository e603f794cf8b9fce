"""``underfire reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from underfire.cli.options import Given, flag, option, takes
from underfire.cli.run import Workers
from underfire.runs.execution import ExecutionSettings

EXAMPLES = """[bold]Examples[/bold]

underfire reproduce adv2 --data scenes:test --classifier scenes-resnet --interpreter grad,cam --count 20 --steps 40,160
--out runs/adv2

underfire reproduce advedge table1 figure5 --data imagenet/val --classifier torchvision:resnet50 --classifier
torchvision:densenet169 --count 100 --count mask:10 --out runs/advedge

underfire reproduce adv2 --list

underfire reproduce adv2 --out runs/adv2 --show"""


@takes(ExecutionSettings, demand=False)
def reproduce(
    given: Given,
    paper: Annotated[str, typer.Argument(metavar="PAPER", help="adv2 or advedge.", show_default=False)],
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ITEM]...", help="Tables and figures, such as table3 figure5. All if none is given."),
    ] = None,
    data: Annotated[
        str | None, option("DATA", "The images, as for 'underfire attack'.", "--data", show_default=False)
    ] = None,
    classifier: Annotated[
        list[str] | None,
        option(
            "NAME",
            "A classifier, as for 'underfire attack'. Can be repeated.",
            "--classifier",
            show_default=False,
        ),
    ] = None,
    interpreter: Annotated[
        str, option("NAMES", "The interpreters, with commas; each is attacked by itself.", "--interpreter")
    ] = "grad,cam,mask,rts",
    count: Annotated[
        list[str] | None,
        option(
            "N",
            "The number of images of a run; mask:N for the runs on one interpreter. Can be repeated. [default: all]",
            "--count",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        str | None,
        option("W,J", "Steps of the warm-up and of the joint stage. [default: the published ones]", "--steps"),
    ] = None,
    budget: Annotated[int | None, option("N", "Steps of auto. [default: 200]", "--budget", min=1)] = None,
    eps: Annotated[str | None, option("EPS", "Radius of PGD, such as 8/255. [default: 0.031]", "--eps")] = None,
    variant: Annotated[
        str | None,
        option("NAME", "paper, or published for the settings of the authors' code. [default: paper]", "--variant"),
    ] = None,
    seed: Annotated[int | None, option("N", "Seed of all random numbers. [default: 0]", "--seed")] = None,
    defended: Annotated[
        list[str] | None,
        option(
            "DEFENSE",
            "A trained defense, for the tables on defenses: rts:FOLDER for a masker by 'train aid', or a file of "
            "weights by 'train robust'. Can be repeated.",
            "--defended",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        option(
            "FILE",
            "More settings of all runs, named as in underfire attack --dump-config.",
            "--config",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, flag("--resume", "Go on with the runs in the output folder.")] = False,
    workers: Workers = None,
    show: Annotated[
        bool, flag("--show", "Run nothing: make tables and pages again from what the output folder holds.")
    ] = False,
    list_items: Annotated[bool, flag("--list", "List the paper's tables and figures, and do nothing else.")] = False,
    dump: Annotated[
        bool, flag("--dump-campaign", "Print the runs as a campaign file for 'underfire run', and do nothing else.")
    ] = False,
    dry_run: Annotated[
        bool, flag("--dry-run", "Print the runs, their time and their size, and do nothing else.")
    ] = False,
) -> None:
    """Make the tables and figures of a paper anew, on your own classifiers and data.

    PAPER is adv2 ("Interpretable Deep Learning under Fire", 2020) or advedge ("Interpretations Cannot Be Trusted",
    2022). The runs are a campaign in the output folder: --resume goes on after an interruption, 'underfire status'
    shows how far it is, and --show makes the tables of what is finished.

    Writes reproduction.md and reproduction.html, with the published numbers beside ours, and for each claim of the
    paper if it holds here, does not hold, or cannot be told. findings.parquet holds all numbers.
    """
    from underfire.cli.reproducing import Wanted, perform

    options = {"data": data, "variant": variant, "seed": seed, "steps": steps, "budget": budget, "eps": eps}
    perform(
        Wanted(
            paper=paper,
            items=items or [],
            settings={name: value for name, value in options.items() if value is not None},
            execution=given,
            classifiers=classifier or [],
            interpreters=interpreter,
            counts=count or [],
            defended=defended or [],
            config=config,
            resume=resume,
            workers=workers,
        ),
        "list" if list_items else "dump" if dump else "dry run" if dry_run else "show" if show else "run",
    )
