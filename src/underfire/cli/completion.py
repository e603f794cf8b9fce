"""Completion in the shell: commands, options, and names of parts, without importing torch.

The names come from ``completion.json``, which ``python -m tools.completion`` makes from the commands and registries.
Installed packages that offer more parts are asked for their names only.
"""

from __future__ import annotations

import inspect
import io
import json
import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

NAMES = Path(__file__).with_name("completion.json")
_CUTS = (":", "=")
"""Characters at which bash cuts words, although they belong to names such as ``scenes:test``."""


def answer() -> None:
    """Answer the shell's question in the environment, and exit."""
    typed = _whole_words()
    known = json.loads(NAMES.read_text(encoding="utf-8"))
    apps = {"": typer.Typer(name="underfire")}
    for line, command in known["commands"].items():
        group, _, name = line.rpartition(" ")
        values = known["values"] | known["own_values"].get(line, {})
        parameters = [_parameter(n, each, values) for n, each in enumerate(command["options"])]
        if command["topics"]:
            parameters.insert(0, _argument(command["topics"]))
        if not line:
            apps[""].callback()(_function(parameters))
            continue
        if group not in apps:
            apps[group] = typer.Typer()
            apps[""].add_typer(apps[group], name=group)
        apps[group].command(name, help=command["help"])(_function(parameters))
    lines = io.StringIO()
    try:
        with redirect_stdout(lines):
            apps[""](prog_name="underfire")
    finally:  # typer exits
        typer.echo("\n".join(line.removeprefix(typed) for line in lines.getvalue().split("\n")), nl=False)


def _function(parameters: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """Make a function with these parameters, which does nothing: the shell only asks for names."""

    def nothing(**_: Any) -> None:
        pass

    nothing.__dict__["__signature__"] = inspect.Signature(parameters)
    nothing.__annotations__ = {each.name: each.annotation for each in parameters}
    return nothing


def _parameter(number: int, option: str, values: dict[str, Any]) -> inspect.Parameter:
    """Make the parameter of an option: ``--name``, or ``--name=`` if it takes a value."""
    flag = option.removesuffix("=")
    kind: Any = str if option.endswith("=") else bool
    completes = _names(values[flag]) if kind is str and flag in values else None
    made = typer.Option(flag, autocompletion=completes)
    return inspect.Parameter(
        f"option_{number}", inspect.Parameter.KEYWORD_ONLY, default=kind(), annotation=Annotated[kind, made]
    )


def _argument(topics: Sequence[str]) -> inspect.Parameter:
    made = typer.Argument(autocompletion=_names({"names": topics, "group": "", "several": False}))
    return inspect.Parameter("topic", inspect.Parameter.KEYWORD_ONLY, default="", annotation=Annotated[str, made])


def _names(known: dict[str, Any]) -> Callable[[str], list[str]]:
    """Make the function that lists the names which begin as the word does that is being typed.

    Args:
        known: ``names``, ``group`` (the entry point group of installed packages that offer more, or empty), and
            ``several`` (True if names may be joined by commas).
    """

    def listed(incomplete: str) -> list[str]:
        names = list(known["names"])
        if known["group"]:
            names += [point.name for point in entry_points(group=known["group"])]
        before, comma, last = incomplete.rpartition(",") if known["several"] else ("", "", incomplete)
        return [f"{before}{comma}{name}" for name in dict.fromkeys(names) if name.startswith(last)]

    return listed


def _whole_words() -> str:
    """Join the words that bash cut at colons and equals signs, in the environment.

    Returns:
        The part of the current word that stays out of the answers, since bash keeps it: up to its last colon. Empty if
        it has none, and for other shells.
    """
    line, place = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", "")
    pieces = line.split()
    if not place.isdecimal() or not set(_CUTS) & set(pieces) or '"' in line or "'" in line:
        return ""
    words: list[str] = []
    current = 0
    for number, piece in enumerate(pieces):
        if words and (piece in _CUTS or words[-1].endswith(_CUTS)):
            words[-1] += piece
        else:
            words.append(piece)
        if number <= int(place):
            current = len(words) - 1
    if int(place) >= len(pieces):  # a new word after a space
        return ""
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = " ".join(words), str(current)
    value = words[current].partition("=")[2] if words[current].startswith("--") else words[current]
    return value[: value.rfind(":") + 1]
