"""``underfire list``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

EXAMPLES = """[bold]Example[/bold]

underfire list --json"""


def list_names(
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the shipped classifiers, the interpreters and their maskers, the attacks and the training recipes."""
    from underfire.attacks import KINDS, VARIANTS
    from underfire.classifiers.sources import names
    from underfire.interpreters import REGISTRY
    from underfire.interpreters.rts import files
    from underfire.zoo.recipes import RECIPES

    known = {
        "classifiers": names(),
        "interpreters": list(REGISTRY),
        "maskers": [files.read_note(file).classifier for file in files.shipped()],
        "attacks": list(KINDS),
        "presets": list(VARIANTS),
        "data": ["digits", "digits:train", "digits:test", "scenes", "scenes:train", "scenes:test"],
        "recipes": list(RECIPES),
    }
    if as_json:
        typer.echo(json.dumps(known, indent=2))
        return
    for kind, values in known.items():
        typer.echo(f"{kind:<14}{', '.join(values)}")
