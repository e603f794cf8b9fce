"""Options that several commands share: which images, and which classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer


def option(metavar: str, help: str, *names: str, **others: Any) -> typer.models.OptionInfo:
    """An option with a short word for its value, so that the help has room, and brackets that are no markup."""
    made: typer.models.OptionInfo = typer.Option(*names, metavar=metavar, help=help.replace("[", "\\["), **others)
    return made


def flag(name: str, help: str, **others: Any) -> typer.models.OptionInfo:
    """An option without a value."""
    return option("", help, name, **others)


Data = Annotated[
    str,
    option(
        "DATA",
        "A folder with one subfolder of images per class, a folder or .csv file with a table of labels, a .parquet "
        "file, or one of ours: scenes:test, scenes:train, digits:test, digits:train.",
    ),
]
ClassifierName = Annotated[
    str,
    option(
        "NAME",
        "A shipped name (see 'underfire list'), file.py:function, torchvision:NAME, timm:NAME, or hf: with a folder or "
        "name. ':random' at the end takes random weights.",
    ),
]
Interpreters = Annotated[
    list[str] | None,
    option(
        "NAMES",
        "One or several, with commas or by repeating the option: cam, gradcam, grad, mask, rts, ... (see 'underfire "
        "list'); mask:quick for plain drawings, rts:FOLDER for a masker of your own. [default: cam]",
    ),
]
Readers = Annotated[
    list[str] | None,
    option(
        "NAMES",
        "More interpreters, which read the images that the attack on the others made: captum:Lime, captum:KernelShap, "
        "... (written like --interpreter).",
    ),
]
Device = Annotated[str, option("NAME", "auto, cpu, cuda, cuda:1.")]
Seed = Annotated[int, option("N", "Of everything random.")]

_PANEL = "The classifier, where its source does not say"


def _own(metavar: str, help: str) -> typer.models.OptionInfo:
    return option(metavar, help, rich_help_panel=_PANEL)


Weights = Annotated[
    str | None, _own("FILE", "A .pt, .pth or .safetensors file, 'random', or torchvision's name of a set.")
]
Mean = Annotated[str | None, _own("X,...", "Of pixels in [0, 1], one per channel: 0.485,0.456,0.406.")]
Std = Annotated[str | None, _own("X,...", "Of pixels in [0, 1], one per channel: 0.229,0.224,0.225.")]
ImageSize = Annotated[str | None, _own("SIZE", "224, or HEIGHTxWIDTH.")]
Resize = Annotated[int | None, _own("N", "Length of the short side before the crop to the image size.")]
Interpolation = Annotated[str | None, _own("NAME", "bicubic, bilinear, nearest, lanczos, box or hamming.")]
Channels = Annotated[int | None, _own("N", "1 or 3. [default: what the first convolution takes]")]
Classes = Annotated[str | None, _own("N", "How many, or a text file with one class name per line.")]
Features = Annotated[str | None, _own("MODULE", "The module whose output are the last convolutional features.")]
ClassMap = Annotated[str | None, _own("FILE", "JSON or CSV: which class each class name of the data stands for.")]


def interpreters(
    given: Sequence[str] | None, default: Sequence[str] = ("cam",), beside: Sequence[str] = ()
) -> list[str]:
    """The names that were given, cut at commas; not those of maskers, since a folder's name may hold a comma.

    Raises InputError for one that is given twice, or stands ``beside`` these already.
    """
    from underfire.errors import InputError
    from underfire.interpreters import canonical

    names: list[str] = []
    for each in given or default:
        names += [each] if each.startswith("rts:") else [name.strip() for name in each.split(",")]
    every = [*beside, *names]
    for place, name in enumerate(every):
        if canonical(name) in map(canonical, every[:place]):
            raise InputError(f"interpreter has {name!r} twice in {', '.join(every)}; each can be given once.")
    return names
