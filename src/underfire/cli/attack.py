"""``underfire attack``."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from underfire.cli import options
from underfire.cli.screen import RunBars, bars

EXAMPLES = """[bold]Examples[/bold]

underfire attack --data digits:test --classifier digits-resnet --interpreter cam --attack adv2 --eps 0.2 --steps 40,160 --count 50 --out runs/digits

underfire attack --data photos/ --classifier my_model.py:build --interpreter grad --attack adv2 --eps 8/255 --count 100 --out runs/mine --resume"""  # noqa: E501


class PresetName(StrEnum):
    paper = "paper"
    published = "published"


class EdgeScope(StrEnum):
    all = "all"
    warmup = "warmup"


class Precision(StrEnum):
    float32 = "float32"
    bf16 = "bf16"


def attack(
    data: options.Data,
    classifier: options.ClassifierName,
    out: Annotated[Path, typer.Option(help="Folder for results, images and maps.")],
    interpreter: Annotated[
        list[str] | None,
        typer.Option(
            help="cam, gradcam, grad, mask, rts, or rts:FOLDER with your own masker; several are attacked at once."
        ),
    ] = None,
    attack: Annotated[
        str, typer.Option(help="adv2, advedge and advedge+ are joint; pgd, bim, cw and stadv only change the class.")
    ] = "adv2",
    baseline: Annotated[
        str | None,
        typer.Option(help="Beside it, instead of ours: torchattacks:NAME, foolbox:NAME or art:NAME."),
    ] = None,
    perturbation: Annotated[
        str | None, typer.Option(help="Of a joint attack: pgd, bim, cw or stadv [default: pgd].")
    ] = None,
    eps: Annotated[str, typer.Option(help="L-inf radius of pgd and bim: 8/255 or 0.031.")] = "0.031",
    steps: Annotated[str | None, typer.Option(help="WARMUP,JOINT, such as 40,160.")] = None,
    target: Annotated[str, typer.Option(help="random, least-likely, or a class (number or name).")] = "random",
    target_map: Annotated[
        str, typer.Option(help="The map to show: benign, patch, class, or a file with a map.")
    ] = "benign",
    edge_threshold: Annotated[float | None, typer.Option(help="Of advedge+ [default: 0.1].")] = None,
    edge_scope: Annotated[
        EdgeScope | None, typer.Option(help="Where edges act [default: all stages; published: the warm-up].")
    ] = None,
    search: Annotated[
        int, typer.Option(help="cw, stadv: rounds of a search for each image's own constant.", min=0)
    ] = 0,
    untargeted: Annotated[bool, typer.Option("--untargeted", help="Any wrong class will do.")] = False,
    count: Annotated[int | None, typer.Option(help="Attack the first so many correctly classified images.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    batch_size: Annotated[str, typer.Option(help="Images at once; does not change results.")] = "auto",
    device: options.Device = "auto",
    precision: Annotated[Precision, typer.Option(help="Of the attack; verdicts are in float32.")] = Precision.float32,
    preset: Annotated[
        PresetName, typer.Option(help="Our settings, or those of the published code.")
    ] = PresetName.paper,
    early_stop: Annotated[
        bool | None,
        typer.Option("--early-stop/--no-early-stop", help="Let images leave that have come to rest [default: Grad's]."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the output folder.")] = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write page.html and figure.png too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    weights: options.Weights = None,
    mean: options.Mean = None,
    std: options.Std = None,
    image_size: options.ImageSize = None,
    resize: options.Resize = None,
    interpolation: options.Interpolation = None,
    channels: options.Channels = None,
    classes: options.Classes = None,
    features: options.Features = None,
    class_map: options.ClassMap = None,
) -> None:
    """Attack images, judge the outcome beside its controls, and write everything down.

    Writes a page to look at, results.parquet, trace.parquet, maps.safetensors, summary.json, run.json and the judged
    images to the output folder. The controls are the clean images, random noise, the attack on the prediction alone,
    and, where an interpreter draws random numbers (mask), the clean images read with others.
    """
    from underfire.campaigns import RunConfig, parse_steps, run_attack
    from underfire.errors import InputError

    config = RunConfig.create(
        data=data,
        classifier=classifier,
        weights=weights,
        mean=mean,
        std=std,
        image_size=image_size,
        resize=resize,
        interpolation=interpolation,
        channels=channels,
        classes=classes,
        features=features,
        class_map=class_map,
        interpreters=tuple(interpreter or ["cam"]),
        attack=attack,
        baseline=baseline,
        perturbation=perturbation,
        target_map=target_map,
        edge_threshold=edge_threshold,
        edge_scope=None if edge_scope is None else edge_scope.value,
        search=search,
        eps=eps,
        steps=None if steps is None else parse_steps(steps),
        target=target,
        targeted=not untargeted,
        preset=preset.value,
        precision=precision.value,
        early_stop=early_stop,
        count=count,
        seed=seed,
    )
    if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size)):
        raise InputError(f"batch-size is {batch_size!r}; expected a positive number or 'auto'.")
    with bars() as progress:
        summary = run_attack(
            config,
            out,
            resume=resume,
            overwrite=overwrite,
            batch_size=None if batch_size == "auto" else int(batch_size),
            device=device,
            reporter=RunBars(progress),
        )
    files = "results.parquet, trace.parquet, maps.safetensors, summary.json, run.json, images/"
    if page:
        from underfire.reports.figure import write_figure
        from underfire.reports.page import write_page

        files = f"{write_page([out], out / 'page.html').name}, {write_figure([out], out / 'figure.png').name}, {files}"
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    from underfire.reports.table import summary_table

    console = Console()
    console.print(summary_table(summary))
    console.print(Text.assemble("Written to ", (str(out), "bold"), f": {files}"))
