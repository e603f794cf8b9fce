"""The command line."""

from __future__ import annotations

import json
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from underfire.errors import UnderfireError, UnderfireWarning

app = typer.Typer(
    name="underfire",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Can one small change to an image fool the classifier and leave its explanation looking right?",
)
train_app = typer.Typer(no_args_is_help=True, help="Train the networks that ship with underfire.")
app.add_typer(train_app, name="train")
screen = Console(stderr=True)


class PresetName(StrEnum):
    paper = "paper"
    published = "published"


class Precision(StrEnum):
    float32 = "float32"
    bf16 = "bf16"


class _ProgressBars:
    """Shows selection and attack with the time that is left."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.looking = progress.add_task("reading images", total=None)
        self.attacking: Any = None

    def selecting(self, looked_at: int, total: int) -> None:
        self.progress.update(self.looking, completed=looked_at, total=total)

    def running(self, done: int, total: int) -> None:
        if self.attacking is None:
            self.progress.remove_task(self.looking)
            self.attacking = self.progress.add_task("attacking", total=total)
        self.progress.update(self.attacking, completed=done, total=total)


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description:<15}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


@app.command(
    epilog="""[bold]Examples[/bold]

underfire attack --data digits:test --classifier digits-resnet --interpreter cam --attack adv2 --eps 0.2 --steps 40,160 --count 50 --out runs/digits

underfire attack --data photos/ --classifier my_model.py:build --interpreter grad --attack adv2 --eps 8/255 --count 100 --out runs/mine --resume"""  # noqa: E501
)
def attack(
    data: Annotated[str, typer.Option(help="A folder by class, a folder with a CSV, a .parquet file, or 'digits'.")],
    classifier: Annotated[str, typer.Option(help="A shipped name ('underfire list'), or file.py:function.")],
    out: Annotated[Path, typer.Option(help="Folder for results, images and maps.")],
    interpreter: Annotated[
        list[str] | None, typer.Option(help="cam, gradcam or grad; several are attacked at once.")
    ] = None,
    attack: Annotated[str, typer.Option(help="adv2 is joint; pgd and bim only change the class.")] = "adv2",
    eps: Annotated[str, typer.Option(help="L-inf radius: 8/255 or 0.031.")] = "0.031",
    steps: Annotated[str | None, typer.Option(help="WARMUP,JOINT, such as 40,160.")] = None,
    target: Annotated[str, typer.Option(help="random, least-likely, or a class (number or name).")] = "random",
    untargeted: Annotated[bool, typer.Option("--untargeted", help="Any wrong class will do.")] = False,
    count: Annotated[int | None, typer.Option(help="Attack the first so many correctly classified images.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    batch_size: Annotated[str, typer.Option(help="Images at once; does not change results.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Of the attack; verdicts are in float32.")] = Precision.float32,
    preset: Annotated[
        PresetName, typer.Option(help="Our settings, or those of the published code.")
    ] = PresetName.paper,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the output folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Attack images, judge the outcome beside its controls, and write everything down.

    Writes results.parquet, maps.safetensors, summary.json, run.json and the judged images to the output folder. The
    controls are the clean images, random noise, and the attack on the prediction alone.
    """
    from underfire.campaigns import RunConfig, parse_steps, run_attack
    from underfire.errors import InputError

    config = RunConfig.create(
        data=data,
        classifier=classifier,
        interpreters=tuple(interpreter or ["cam"]),
        attack=attack,
        eps=eps,
        steps=None if steps is None else parse_steps(steps),
        target=target,
        targeted=not untargeted,
        preset=preset.value,
        precision=precision.value,
        count=count,
        seed=seed,
    )
    if batch_size != "auto" and not (batch_size.isdecimal() and int(batch_size)):
        raise InputError(f"batch-size is {batch_size!r}; expected a positive number or 'auto'.")
    with _bars() as progress:
        summary = run_attack(
            config,
            out,
            resume=resume,
            overwrite=overwrite,
            batch_size=None if batch_size == "auto" else int(batch_size),
            device=device,
            reporter=_ProgressBars(progress),
        )
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    from underfire.reports.table import summary_table

    console = Console()
    console.print(summary_table(summary))
    files = "results.parquet, maps.safetensors, summary.json, run.json, images/"
    console.print(Text.assemble("Written to ", (str(out), "bold"), f": {files}"))


@train_app.command(
    epilog="""[bold]Example[/bold]

underfire train classifier --recipe cifar10-resnet20 --data train.parquet --test test.parquet --out runs/resnet20 --resume"""  # noqa: E501
)
def classifier(
    recipe: Annotated[str, typer.Option(help="Which network: 'underfire list' names them.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, the weights and the model card.")],
    data: Annotated[str, typer.Option(help="Training images, as for 'attack --data'.")] = "digits:train",
    test: Annotated[str, typer.Option(help="Test images; they are measured, never trained on.")] = "digits:test",
    epochs: Annotated[int | None, typer.Option(help="So many epochs of the recipe's first phase alone.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the output folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was reached as JSON.")] = False,
) -> None:
    """Train a classifier by its recipe, resumable after each epoch.

    Writes weights (safetensors), a model card and a checkpoint to the output folder.
    """
    from underfire.campaigns.runner import find_device
    from underfire.zoo.train import train_recipe

    def show(epoch: Any) -> None:
        screen.print(
            f"epoch {epoch.number:>3}  loss {epoch.loss:.3f}  test accuracy {epoch.accuracy:.4f}  {epoch.seconds:.0f} s"
        )

    place = str(find_device(device))
    reached = train_recipe(recipe, data, test, out, epochs=epochs, device=place, resume=resume, on_epoch=show)
    if as_json:
        typer.echo(json.dumps(reached, indent=2))
    else:
        typer.echo(f"Test accuracy {reached['accuracy']:.4f} on {reached['test_images']} images. Written to {out}")


@app.command(
    "list",
    epilog="""[bold]Example[/bold]

underfire list --json""",
)
def list_names(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the shipped classifiers, the interpreters, the attacks and the training recipes."""
    from underfire.attacks import BUILDERS, VARIANTS
    from underfire.classifiers.sources import names
    from underfire.interpreters import REGISTRY
    from underfire.zoo.recipes import RECIPES

    known = {
        "classifiers": names(),
        "interpreters": list(REGISTRY),
        "attacks": list(BUILDERS),
        "presets": list(VARIANTS),
        "data": ["digits", "digits:train", "digits:test"],
        "recipes": list(RECIPES),
    }
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return
    for kind, values in known.items():
        typer.echo(f"{kind:<14}{', '.join(values)}")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UnderfireWarning):
        _say("warning", str(message), "yellow")


def _say(kind: str, message: str, style: str) -> None:
    """One paragraph on stderr. It is no markup: a path may hold brackets."""
    screen.print(Text.assemble((f"{kind}:", style), f" {message}"))


def main() -> None:
    """Entry point: errors that underfire raises on purpose, and wrong usage, are one paragraph and exit code 2."""
    warnings.showwarning = _show_warning
    try:
        code = app(standalone_mode=False)
    except UnderfireError as error:
        _say("error", str(error), "red")
        sys.exit(2)
    except _USAGE_ERROR as error:
        message = error.format_message().strip()
        if message:  # without one, help was asked for by giving no arguments, and has been shown
            _say("error", f"{message.rstrip('.')}. See {_command(error)} --help.", "red")
        sys.exit(2)
    if code == 130:  # typer's word for Ctrl-C
        screen.print("Stopped. What is finished was kept, and --resume goes on from it.")
    sys.exit(code)


_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # typer brings click along under a name of its own, or none


def _command(error: Any) -> str:
    return str(error.ctx.command_path) if error.ctx else "underfire"


if __name__ == "__main__":
    main()
