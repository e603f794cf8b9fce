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
from underfire.cli.options import flag, option
from underfire.cli.screen import RunBars, bars, say

EXAMPLES = """[bold]Examples[/bold]

underfire attack --data scenes:test --classifier scenes-resnet --interpreter cam,grad --eps 8/255 --steps 40,160 --count 50 --out runs/scenes

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
    out: Annotated[Path, option("FOLDER", "For results, images and maps.")],
    interpreter: options.Interpreters = None,
    read_with: options.Readers = None,
    attack: Annotated[
        str, option("NAME", "adv2, advedge and advedge+ are joint; pgd, bim, cw and stadv only change the class.")
    ] = "adv2",
    baseline: Annotated[
        str | None,
        option(
            "NAME",
            "Prediction-only attack beside a joint one, instead of ours: torchattacks:NAME, foolbox:NAME, art:NAME, or "
            "none.",
        ),
    ] = None,
    perturbation: Annotated[
        str | None, option("NAME", "Of a joint attack: pgd, bim, cw or stadv. [default: pgd]")
    ] = None,
    eps: Annotated[str | None, option("EPS", "L-inf radius of pgd and bim, such as 8/255. [default: 0.031]")] = None,
    noise_eps: Annotated[
        str | None,
        option("EPS", "cw, stadv: size of the noise that maps are compared with. [default: as large as the change]"),
    ] = None,
    steps: Annotated[
        str | None,
        option(
            "W,J",
            "Of warm-up and joint stage, such as 40,160. [default: the preset's, such as 400,1200; see 'underfire list "
            "presets']",
        ),
    ] = None,
    target: Annotated[str, option("CLASS", "random, least-likely, or a class (number or name).")] = "random",
    target_map: Annotated[
        str, option("MAP", "The map to show: benign, patch, class, or a file with a map.")
    ] = "benign",
    edge_threshold: Annotated[float | None, option("X", "Of advedge+, in Sobel magnitude. [default: 0.1]")] = None,
    edge_scope: Annotated[
        EdgeScope | None,
        option("SCOPE", "Where edges act: all stages, or the warmup. [default: all; with --preset published, warmup]"),
    ] = None,
    search: Annotated[int, option("N", "cw, stadv: rounds of a search for each image's own constant.")] = 0,
    untargeted: Annotated[bool, flag("--untargeted", "Any wrong class will do.")] = False,
    count: Annotated[
        int | None, option("N", "Attack the first so many correctly classified images. [default: all of them]")
    ] = None,
    seed: options.Seed = 0,
    batch_size: Annotated[str, option("N", "Images at once; does not change results.")] = "auto",
    device: options.Device = "auto",
    precision: Annotated[
        Precision, option("TYPE", "Of the attack, float32 or bf16; verdicts are in float32.")
    ] = Precision.float32,
    preset: Annotated[
        PresetName, option("NAME", "paper (our settings), or published (those of the published code).")
    ] = PresetName.paper,
    early_stop: Annotated[
        bool, flag("--early-stop", "Let images leave that have come to rest. [default: for Grad alone]")
    ] = False,
    no_early_stop: Annotated[bool, flag("--no-early-stop", "Let none leave.")] = False,
    resume: Annotated[bool, flag("--resume", "Go on with the run in the output folder, if there is one.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", "Replace the run in the output folder.")] = False,
    no_page: Annotated[bool, flag("--no-page", "Do not write page.html and figure.png.")] = False,
    as_json: Annotated[bool, flag("--json", "Print the summary as JSON.")] = False,
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
    and, where an interpreter draws random numbers (mask, smoothgrad, captum:Lime and its like), the clean images read
    with others.
    """
    from underfire.errors import InputError
    from underfire.runs import RunConfig, parse_steps, run_attack

    if early_stop and no_early_stop:
        raise InputError("--early-stop and --no-early-stop contradict each other; give one of them.")
    names = options.interpreters(interpreter)
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
        interpreters=tuple(names),
        readers=tuple(options.interpreters(read_with, default=(), beside=names)),
        attack=attack,
        baseline=baseline,
        perturbation=perturbation,
        target_map=target_map,
        edge_threshold=edge_threshold,
        edge_scope=None if edge_scope is None else edge_scope.value,
        search=search,
        eps=eps,
        noise_eps=noise_eps,
        steps=None if steps is None else parse_steps(steps),
        target=target,
        targeted=not untargeted,
        preset=preset.value,
        precision=precision.value,
        early_stop=early_stop or (False if no_early_stop else None),
        count=count,
        seed=seed,
    )
    if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size)):
        raise InputError(f"batch-size is {batch_size!r}; expected a positive number or 'auto'.")
    if resume and not (out / "run.json").exists():
        say("note", f"there is no run in {out} to go on with: this one begins there.", "cyan")
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
    if not no_page:
        from underfire.reports.figure import write_figure
        from underfire.reports.page import write_page

        files = f"{write_page([out], out / 'page.html').name}, {write_figure([out], out / 'figure.png').name}, {files}"
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    from underfire.reports.table import summary_table
    from underfire.reports.words import cautions
    from underfire.runs.reader import Run

    console = Console()
    console.print(summary_table(summary))
    for text in cautions(Run.read(out)):
        console.print(Text.assemble(("!", "bold yellow"), " ", text))
    console.print(Text.assemble("Written to ", (str(out), "bold"), f": {files}"))
