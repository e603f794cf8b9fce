"""``underfire list``."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from underfire.cli.options import flag

if TYPE_CHECKING:
    from rich.console import RenderableType

EXAMPLES = """[bold]Examples[/bold]

underfire list

underfire list presets

underfire list --json"""

MORE_CLASSIFIERS = ["torchvision:NAME", "timm:NAME", "hf:FOLDER_OR_NAME", "file.py:function"]
MORE_DETECTORS = ["squeezing:SQUEEZER", "lid:K", "maps:product"]
MORE_INTERPRETERS = [
    "mask:older",
    "mask:quick",
    "mask:small",
    "lrp:z+",
    "attnlrp:values",
    "captum:METHOD",
    "rts:FOLDER",
    "ensemble:cam+grad",
]


class Topic(StrEnum):
    names = "names"
    presets = "presets"


def list_names(
    topic: Annotated[
        Topic,
        typer.Argument(metavar="WHAT", help="What to show: names of parts, or presets (explains attacks, variants)."),
    ] = Topic.names,
    as_json: Annotated[bool, flag("--json", "Print as JSON.")] = False,
) -> None:
    """Show the names of all parts: classifiers, interpreters, attacks and their parts, measures, recipes; or explain
    the presets of the attacks."""
    from underfire.cli import presets

    known = presets.known() if topic is Topic.presets else names()
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return
    from rich.console import Console

    Console(highlight=False).print(presets.shown(known) if topic is Topic.presets else shown(known))


def names() -> dict[str, Any]:
    """Return everything that has a name, as JSON values."""
    from underfire import attacks
    from underfire.classifiers.sources import names
    from underfire.defenses import aid, robust
    from underfire.detectors import DETECTORS
    from underfire.interpreters import REGISTRY
    from underfire.interpreters.rts import files
    from underfire.reports.exports import EXPORTS
    from underfire.reports.tracking import TRACKERS
    from underfire.transforms.squeezers import SQUEEZERS
    from underfire.zoo.imagenet import IMAGENET
    from underfire.zoo.recipes import RECIPES, recipe_of

    data = {name: ["photos"] if name in IMAGENET else list(recipe_of(name).sources) for name in names()}
    return {
        "classifiers": names(),
        "data_of_classifiers": data,
        "more_classifiers": MORE_CLASSIFIERS,
        "interpreters": [name for name in REGISTRY if name != "captum"],
        "more_interpreters": MORE_INTERPRETERS,
        "maskers": [files.read_note(file).classifier for file in files.shipped()],
        "defended_maskers": [f"rts:{name}" for name in files.defended()],
        "attacks": list(attacks.KINDS),
        "variants": list(attacks.VARIANTS),
        "perturbations": list(attacks.PERTURBATIONS),
        "shapings": list(attacks.SHAPINGS),
        "target classes": list(attacks.CLASS_RULES),
        "target maps": list(attacks.MAP_RULES),
        "terms": list(attacks.TERMS),
        "squeezers": list(SQUEEZERS),
        "detectors": list(DETECTORS),
        "more_detectors": MORE_DETECTORS,
        "measures": list(attacks.MEASURES),
        "exports": list(EXPORTS),
        "trackers": list(TRACKERS),
        "data": ["photos", "digits", "digits:train", "digits:test", "scenes", "scenes:train", "scenes:test"],
        "recipes": list(RECIPES),
        "aid recipes": list(aid.RECIPES),
        "robust recipes": list(robust.RECIPES),
    }


OPEN = (
    "perturbations",
    "shapings",
    "target classes",
    "target maps",
    "terms",
    "squeezers",
    "detectors",
    "measures",
    "exports",
    "trackers",
)
"""Kinds of parts that also take ``file.py:name``, beside classifiers and interpreters."""


def shown(known: dict[str, Any]) -> RenderableType:
    """Show the names by kind, on lines that fit the terminal."""
    from rich.table import Table
    from rich.text import Text

    from underfire.zoo.imagenet import IMAGENET
    from underfire.zoo.recipes import recipe_of

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column("kind", no_wrap=True)
    table.add_column("names", overflow="fold")

    def add(kind: str, text: str) -> None:
        table.add_row(kind, Text(text))

    groups: dict[str, list[str]] = {}
    for name, sources in known["data_of_classifiers"].items():
        data = f"--data {sources[-1]}" if sources else f"trained on {recipe_of(name).data}; bring --data"
        if name in IMAGENET:
            data = "ImageNet, with the extra photos; --data photos, or yours"
        groups.setdefault(data, []).append(name)
    for place, (data, members) in enumerate(groups.items()):
        add("" if place else "classifiers", f"{', '.join(members)}  ({data})")
    add("", f"and by prefix: {', '.join(known['more_classifiers'])}")
    add("interpreters", ", ".join(known["interpreters"]))
    add("", f"and with an argument: {', '.join(known['more_interpreters'])}, file.py:name")
    add("maskers", f"{', '.join(known['maskers'])}  (for the interpreter rts)")
    add("", f"and {', '.join(known['defended_maskers'])}  (as an interpreter: trained as a defense)")
    add("attacks", ", ".join(known["attacks"]))
    add("variants", f"{', '.join(known['variants'])}  (explained by: underfire list presets)")
    for kind in OPEN:
        add(kind, f"{', '.join(known[kind])}, file.py:name")
        if kind == "detectors":
            add("", f"and with an argument: {', '.join(known['more_detectors'])}")
    for kind in ("data", "recipes", "aid recipes", "robust recipes"):
        add(kind, ", ".join(known[kind]))
    return table
