"""``underfire explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from underfire.cli import options
from underfire.cli.options import Given, flag, option, takes
from underfire.cli.screen import bars
from underfire.runs.inputs import PREDICTED, InputSettings
from underfire.text import counted

EXAMPLES = """[bold]Examples[/bold]

underfire explain --data digits:test --classifier digits-resnet --interpreter cam,grad --count 12 --out maps/digits

underfire explain --data photo.jpg --classifier my_model.py:build --interpreter gradcam --class "tabby cat"
--out maps/photo"""


@takes(InputSettings)
def explain(
    given: Given,
    out: Annotated[Path, option("FOLDER", "Folder for maps, images and the picture.", "--out")],
    interpreter: Annotated[
        list[str] | None,
        option(
            "NAMES",
            "Interpreters, with commas or by repeating the option. [default: cam]",
            "--interpreter",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, option("N", "Explain the first N readable images.", "--count")] = 16,
    wanted: Annotated[
        str, option("CLASS", "The class to explain: predicted, label, a name or a number.", "--class")
    ] = "predicted",
    device: options.Device = "auto",
    overwrite: Annotated[bool, flag("--overwrite", "Replace earlier explanations in the folder.")] = False,
) -> None:
    """Show what a classifier looks at: the maps of images as they are, right or wrong, without any attack.

    --data may also be one image file, or a folder of images in no classes. Writes maps.safetensors, maps.json (class,
    confidence and files of each image), images/, overlays/ and the picture maps.png to the output folder.
    """
    from rich.console import Console
    from rich.text import Text

    from underfire.errors import InputError
    from underfire.reports.explain import explain as write_maps
    from underfire.runs.devices import find_device
    from underfire.runs.settings import parse_interpreters
    from underfire.settings import few_images
    from underfire.system import System

    config = InputSettings.create(**given)
    asked = [name for each in interpreter or ["cam"] for name in parse_interpreters(each)]
    if count < 1:
        raise InputError(few_images(count))
    inputs = config.open(find_device(device), unlabelled=True)
    predicted = config.labels == PREDICTED
    system = System(inputs.classifier, asked)
    with bars() as progress:
        task = progress.add_task("explaining", total=None)
        found = write_maps(
            inputs.data,
            system,
            out,
            count=count,
            wanted=wanted,
            overwrite=overwrite,
            on_batch=lambda done, total: progress.update(task, completed=done, total=total),
        )
    labelled = [entry for entry in found if entry.label is not None and not predicted]
    right = sum(entry.predicted == entry.label for entry in labelled)
    console = Console()
    if not labelled and len(found) > 1:
        console.print(f"{counted(len(found), 'image')}; maps.json has the class and the confidence of each.")
    elif labelled:
        console.print(f"{counted(len(found), 'image')}, {right} of them classified correctly.")
    else:
        names, entry = inputs.classifier.class_names, found[0]
        said = names[entry.predicted] if names else f"class {entry.predicted}"
        console.print(Text(f"Classified as {said}, confidence {entry.confidence:.3f}."))
    console.print(Text.assemble("Written to ", (str(out), "bold"), ": maps.png, maps.safetensors, maps.json, ..."))
