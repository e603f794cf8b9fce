"""``underfire train aid`` and ``underfire train robust``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from underfire.arguments import check_known
from underfire.cli import options
from underfire.cli.options import Given, flag, option, takes
from underfire.cli.training_job import Job, perform
from underfire.defenses.aid.recipe import AidRecipe
from underfire.defenses.recipe import TrainingRecipe
from underfire.defenses.robust.recipe import RobustRecipe
from underfire.errors import InputError
from underfire.runs.inputs import InputSettings
from underfire.settings import Problems, changed, settings_of

ROBUST_EXAMPLES = """[bold]Examples[/bold]

underfire train robust --classifier cifar10-resnet20 --data train.parquet --test test.parquet --recipe quick
--out defenses/robust

underfire train robust --classifier my_model.py:build --data photos/ --recipe adversarial --steps 2000
--out defenses/mine

underfire attack --classifier cifar10-resnet20 --weights defenses/robust/cifar10-resnet20-robust.safetensors
--data test.parquet --attack auto --out runs/robust"""

AID_EXAMPLES = """[bold]Examples[/bold]

underfire train aid --classifier cifar10-resnet20 --data train.parquet --test test.parquet --out defenses/aid

underfire train aid --classifier my_model.py:build --masker maskers/mine --data photos/ --recipe auto
--out defenses/mine

underfire attack --classifier cifar10-resnet20 --interpreter rts:defenses/aid --data test.parquet --attack auto
--out runs/aid"""


Out = Annotated[Path, option("FOLDER", "Folder for the result, its card, losses and the checkpoint.", "--out")]
R = TypeVar("R", bound=TrainingRecipe)
TensorBoard = Annotated[
    bool, flag("--tensorboard", "Write curves to OUT/tensorboard while training; needs the package tensorboard.")
]
Devices = Annotated[
    str | None,
    option(
        "N",
        "Train on several devices of this machine at once: a number of GPUs, or names such as cuda:0,cuda:2. "
        "[default: one device]",
        "--devices",
        show_default=False,
    ),
]
AsJson = Annotated[bool, flag("--json", "Print the measured quality as JSON.")]


@takes(InputSettings, RobustRecipe)
def robust(
    given: Given,
    out: Out,
    recipe: Annotated[
        str,
        option(
            "NAME",
            "normal, adversarial, int, int-joint, int-ce, int-adv (CE of attacked images and their maps), ig-norm, "
            "ig-sum-norm (integrated gradients), ssr (curvature), or quick.",
            "--recipe",
        ),
    ] = "int-adv",
    test: options.TestImages = None,
    test_split: options.TestSplit = None,
    device: options.Device = "auto",
    devices: Devices = None,
    resume: options.ResumeTraining = False,
    tensorboard: TensorBoard = False,
    as_json: AsJson = False,
) -> None:
    """Go on training a classifier against attacks on its prediction, on its explanation, or on both.

    A training that was stopped goes on with --resume, and loses at most 50 steps. On several GPUs (--devices, or
    torchrun) each computes a part of every batch, so that the result does not depend on their number, but for rounding.

    Writes NAME-robust.safetensors, its model card NAME-robust.md, losses.csv, losses.png and a checkpoint to the output
    folder. Use it with --weights FILE.
    """
    from underfire.defenses.robust import RECIPES, train_robust

    chosen = _recipe(RECIPES, recipe, given, test)
    job = Job(train_robust, chosen, given, out, test, test_split, resume, tensorboard)
    reached = perform(job, device, devices)
    if reached is None:
        return
    line = ""
    if "accuracy" in reached:
        line = (
            f"On {reached['test_images']} test images: accuracy {100 * reached['accuracy']:.1f} % "
            f"(before the training {100 * reached['accuracy_before']:.1f} %), and "
            f"{100 * reached['attacked_accuracy']:.1f} % under an attack on the class."
        )
    _say(reached, line, out, as_json)


@takes(InputSettings, AidRecipe)
def aid(
    given: Given,
    out: Out,
    recipe: Annotated[
        str,
        option("NAME", "The attack in training: adv2, auto, or quick (ADV2, fewer steps).", "--recipe"),
    ] = "adv2",
    masker: Annotated[
        str | None,
        option(
            "FILE",
            "The trained masker to go on from: a file, or the folder with it. [default: the one that ships]",
            "--masker",
            show_default=False,
        ),
    ] = None,
    test: options.TestImages = None,
    test_split: options.TestSplit = None,
    device: options.Device = "auto",
    devices: Devices = None,
    resume: options.ResumeTraining = False,
    tensorboard: TensorBoard = False,
    as_json: AsJson = False,
) -> None:
    """Go on training an RTS masker by AID, so that its map moves when an attack changes the class.

    A training that was stopped goes on with --resume, and loses at most 50 steps. On several GPUs (--devices, or
    torchrun) each computes a part of every batch, so that the result does not depend on their number, but for rounding.

    Writes rts-aid-NAME.safetensors, its model card rts-aid-NAME.md, losses.csv, losses.png and a checkpoint to the
    output folder. Use it with --interpreter rts:FOLDER.
    """
    from functools import partial

    from underfire.defenses.aid import RECIPES, train_aid

    chosen = _recipe(RECIPES, recipe, given, test)
    job = Job(partial(train_aid, masker=masker), chosen, given, out, test, test_split, resume, tensorboard)
    reached = perform(job, device, devices)
    if reached is None:
        return
    line = ""
    if "kept" in reached:
        line = (
            f"On {reached['test_images']} test images: the class is still seen in {100 * reached['kept']:.1f} % with "
            f"the half that the map finds most important, in {100 * reached['kept_random']:.1f} % with a random half."
        )
    _say(reached, line, out, as_json)


def _recipe(known: Mapping[str, R], name: str, given: Given, test: str | None) -> R:
    """Find the recipe called ``name``, with the settings that the user gave.

    Raises:
        InputError: there is no such recipe, a value is impossible, or it would change nothing.
    """
    check_known("recipe", name, known)
    own = settings_of(type(known[name]))
    asked = {key: value for key, value in given.items() if key in own}
    made, problems = changed(known[name], asked), Problems()
    for setting, reason in made.without_effect(measured=test is not None).items():
        if setting in asked:
            option = f"--{setting.replace('_', '-')}"
            problems.append(InputError(f"{option} is {asked[setting]}, and {reason}: leave {option} out."))
    problems.report()
    return made


def _say(reached: dict[str, Any], line: str, out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(reached, indent=2))
        return
    if line:
        typer.echo(line)
    name = reached["name"]
    typer.echo(f"Written to {out}: {name}.safetensors, {name}.md, losses.csv, losses.png")
