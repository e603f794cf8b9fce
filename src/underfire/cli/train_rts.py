"""``underfire train rts``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from underfire.cli import options
from underfire.cli.options import Given, flag, option, takes
from underfire.cli.training import showing, test_images
from underfire.runs.inputs import InputSettings

EXAMPLES = """[bold]Examples[/bold]

underfire train rts --classifier cifar10-resnet20 --data train.parquet --test test.parquet --out maskers/resnet20

underfire train rts --classifier cifar10-densenet --encoder cifar10-resnet20 --data train.parquet --out maskers/densenet

underfire train rts --classifier my_model.py:build --data photos/ --steps 300,1500 --out maskers/mine --resume"""


@takes(InputSettings)
def rts(
    given: Given,
    out: Annotated[Path, option("FOLDER", "Folder for the masker, its card, losses and the checkpoint.", "--out")],
    test: options.TestImages = None,
    test_split: options.TestSplit = None,
    encoder: Annotated[
        str | None,
        option(
            "NAME",
            "Another classifier, whose features the masker reads. [default: the classifier]",
            "--encoder",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        str | None,
        option(
            "S,D",
            "Training steps of the masker's two parts: selector (which class is where) and decoder (finer maps). A "
            "single number is for the decoder. [default: 300,1500]",
            "--steps",
            show_default=False,
        ),
    ] = None,
    selector: Annotated[
        str,
        option(
            "NAME",
            "trained, or head: take the classifier's own head as the selector. For few images per class, or images "
            "that do not show all classes.",
            "--selector",
        ),
    ] = "trained",
    width: Annotated[int, option("N", "Channels of the masker's finest features, a multiple of 8.", "--width")] = 32,
    confidence: Annotated[
        float | None,
        option(
            "X",
            "The evidence (a logit) for the class at which a place of the map counts half; higher makes maps darker. "
            "Training itself uses 0. [default: 0; 6 if the short side is 128 pixels or more]",
            "--confidence",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[
        int, option("N", "Images per decoder step, at least 2; a selector step takes twice as many.", "--batch", min=2)
    ] = 64,
    seed: Annotated[int, option("N", "Seed of all random numbers.", "--seed")] = 0,
    device: options.Device = "auto",
    resume: options.ResumeTraining = False,
    as_json: Annotated[bool, flag("--json", "Print the measured quality as JSON.")] = False,
) -> None:
    """Train the masker that the interpreter RTS needs, for a convolutional network or a transformer.

    A training that was stopped goes on with --resume, and loses at most 50 steps.

    Writes rts-NAME.safetensors, its model card rts-NAME.md, losses.csv, losses.png and a checkpoint to the output
    folder. Use it with --interpreter rts:FOLDER.
    """
    from underfire.classifiers import load
    from underfire.interpreters.rts import MaskerRecipe, train_masker
    from underfire.reports.losses import write_losses
    from underfire.runs.devices import find_device

    recipe = MaskerRecipe(
        **_steps(steps),
        selector=selector,
        selector_batch=2 * batch,
        decoder_batch=batch,
        width=width,
        confidence=confidence,
        seed=seed,
    )
    config = InputSettings.create(**given)
    config.need_labels("a masker learns what belongs to a class from labels")
    inputs = config.open(find_device(device))
    testing = test_images(config, inputs, test, test_split)
    with showing("selector", recipe.selector_steps) as show:
        reached = train_masker(
            inputs.classifier,
            inputs.data,
            out,
            test=testing,
            encoder=None if encoder is None else load(encoder),
            encoder_spec=encoder or "",
            recipe=recipe,
            resume=resume,
            on_step=show,
        )
    write_losses(out / "losses.csv", out / "losses.png")
    if as_json:
        typer.echo(json.dumps(reached, indent=2))
        return
    if "kept" in reached:
        typer.echo(
            f"On {reached['test_images']} test images: the class is still seen in {100 * reached['kept']:.1f} % with "
            f"the half that the map finds most important, in {100 * reached['kept_random']:.1f} % with a random half, "
            f"in {100 * reached['without']:.1f} % with the rest."
        )
    typer.echo(f"Written to {out}: {reached['name']}.safetensors, {reached['name']}.md, losses.csv, losses.png")


def _steps(text: str | None) -> dict[str, Any]:
    from underfire.errors import InputError

    if text is None:
        return {}
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise InputError(f"steps is {text!r}; expected those of the decoder, or SELECTOR,DECODER, such as 300,1500.")
    return dict(zip(("selector_steps", "decoder_steps")[-len(numbers) :], numbers, strict=True))
