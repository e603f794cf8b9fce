"""``underfire train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from underfire.cli import options
from underfire.cli.options import flag, option
from underfire.cli.screen import screen

EXAMPLES = """[bold]Example[/bold]

underfire train classifier --recipe cifar10-resnet20 --data train.parquet --test test.parquet
--out runs/resnet20 --resume"""


def classifier(
    recipe: Annotated[str, option("NAME", "The recipe: a name under 'recipes' in 'underfire list'.", "--recipe")],
    out: Annotated[Path, option("FOLDER", "Folder for the checkpoint, the weights and the model card.", "--out")],
    data: Annotated[
        str | None,
        option(
            "DATA",
            "Training images, as for 'attack --data'. [default: the recipe's own, if they ship]",
            "--data",
            show_default=False,
        ),
    ] = None,
    test: options.TestImages = None,
    epochs: Annotated[
        int | None,
        option(
            "N",
            "Train only the recipe's first phase, for N epochs. [default: all phases]",
            "--epochs",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "cpu",
    resume: options.ResumeTraining = False,
    as_json: Annotated[bool, flag("--json", "Print the measured accuracy as JSON.")] = False,
) -> None:
    """Train a classifier by its recipe, resumable after each epoch.

    Writes weights (safetensors), a model card and a checkpoint to the output folder.
    """
    from underfire.runs.devices import find_device
    from underfire.zoo.train import train_recipe

    def show(epoch: Any) -> None:
        screen.print(
            f"epoch {epoch.number:>3}  loss {epoch.loss:.3f}  test accuracy {epoch.accuracy:.4f}  {epoch.seconds:.0f} s"
        )

    place = str(find_device(device))
    reached = train_recipe(recipe, out, data, test, epochs=epochs, device=place, resume=resume, on_epoch=show)
    if as_json:
        typer.echo(json.dumps(reached, indent=2))
    else:
        typer.echo(f"Test accuracy {reached['accuracy']:.4f} on {reached['test_images']} images. Written to {out}")
