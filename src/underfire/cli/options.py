"""Options that several commands share: which images, and which classifier."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[str, typer.Option(help="A folder by class, a folder with a CSV, a .parquet file, or 'digits'.")]
ClassifierName = Annotated[
    str,
    typer.Option(
        help="A shipped name ('underfire list'), file.py:function, torchvision:NAME, timm:NAME or hf:FOLDER_OR_NAME; "
        "':random' at its end takes random weights."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]

_PANEL = "The classifier, where its source does not say"


def _own(help: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=help, rich_help_panel=_PANEL)
    return option


Weights = Annotated[str | None, _own("A .pt, .pth or .safetensors file, 'random', or torchvision's name of a set.")]
Mean = Annotated[str | None, _own("Of pixels in [0, 1]: 0.485,0.456,0.406.")]
Std = Annotated[str | None, _own("Of pixels in [0, 1]: 0.229,0.224,0.225.")]
ImageSize = Annotated[str | None, _own("224, or HEIGHTxWIDTH.")]
Resize = Annotated[int | None, _own("Length of the short side before the crop to the image size.")]
Interpolation = Annotated[str | None, _own("bicubic, bilinear, nearest, lanczos, box or hamming.")]
Channels = Annotated[int | None, _own("1 or 3; by default what the first convolution takes.")]
Classes = Annotated[str | None, _own("How many, or a text file with one class name per line.")]
Features = Annotated[str | None, _own("The module whose output are the last convolutional features.")]
ClassMap = Annotated[str | None, _own("JSON or CSV: which class each class name of the data stands for.")]
