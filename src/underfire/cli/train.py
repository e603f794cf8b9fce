"""``underfire train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from underfire.cli.screen import screen

EXAMPLES = """[bold]Example[/bold]

underfire train classifier --recipe cifar10-resnet20 --data train.parquet --test test.parquet --out runs/resnet20 --resume"""  # noqa: E501


def classifier(
    recipe: Annotated[str, typer.Option(help="Which network: 'underfire list' names them.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, the weights and the model card.")],
    data: Annotated[
        str | None, typer.Option(help="Training images, as for 'attack --data'; the recipe's own where they ship.")
    ] = None,
    test: Annotated[str | None, typer.Option(help="Test images; they are measured, never trained on.")] = None,
    epochs: Annotated[int | None, typer.Option(help="So many epochs of the recipe's first phase alone.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "cpu",
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
    reached = train_recipe(recipe, out, data, test, epochs=epochs, device=place, resume=resume, on_epoch=show)
    if as_json:
        typer.echo(json.dumps(reached, indent=2))
    else:
        typer.echo(f"Test accuracy {reached['accuracy']:.4f} on {reached['test_images']} images. Written to {out}")
