"""Collect what the shell completes: src/underfire/cli/completion.json.

    python -m tools.completion

Commands and options come from the command line, and names from the registries. A test holds that the committed file is
up to date. It exists because the command line itself takes seconds to import.
"""

from __future__ import annotations

import json
from typing import Any

import typer

from underfire.cli import names
from underfire.cli.commands import app
from underfire.cli.completion import NAMES

OWN = {"--help", "--install-completion", "--show-completion"}
"""Options that typer adds to every command line by itself."""

VALUES: dict[str, tuple[str, str, bool]] = {
    "--classifier": ("classifiers", "underfire.classifiers", False),
    "--data": ("data", "", False),
    "--interpreter": ("interpreters", "underfire.interpreters", True),
    "--read-with": ("interpreters", "underfire.interpreters", True),
    "--attack": ("attacks", "", False),
    "--variant": ("variants", "", False),
    "--perturbation": ("perturbations", "underfire.perturbations", False),
    "--shaping": ("shapings", "underfire.shapings", False),
    "--target-class": ("target classes", "underfire.class_rules", False),
    "--target-map": ("target maps", "underfire.map_rules", False),
    "--evade": ("squeezers", "underfire.squeezers", True),
    "--format": ("exports", "underfire.exports", False),
    "--detector": ("detectors", "underfire.detectors", False),
    "--track": ("trackers", "underfire.trackers", False),
    "--recipe": ("recipes", "", False),
}
"""Options whose values have names: the kind of names, the entry point group, and whether commas join several."""

OWN_VALUES = {
    "train aid": ("--recipe", "aid recipes"),
    "train robust": ("--recipe", "robust recipes"),
    "attack": ("--detector", ""),
}
"""Options whose values have other names in one command: the option, and the kind of names; empty for a folder."""

TOPICS = {"list": [str(topic) for topic in names.Topic]}
"""Commands whose argument has names."""

MORE = {"classifiers": "more_classifiers", "interpreters": "more_interpreters", "detectors": "more_detectors"}


def collected() -> str:
    """Collect everything as JSON. Parts of installed packages are left out: the shell's question finds them."""
    commands: dict[str, Any] = {}
    _walk(typer.main.get_command(app), (), commands)
    shipped = names.names()
    values = {
        option: {"names": [*shipped[kind], *_prefixes(shipped, kind)], "group": group, "several": several}
        for option, (kind, group, several) in VALUES.items()
    }
    own = {
        command: {option: {"names": shipped.get(kind, []), "group": "", "several": False}}
        for command, (option, kind) in OWN_VALUES.items()
    }
    return json.dumps({"commands": commands, "values": values, "own_values": own}, indent=1) + "\n"


def _prefixes(shipped: dict[str, Any], kind: str) -> list[str]:
    """List names that go on after a colon: whole ones (``mask:quick``), or the beginning (``timm:``)."""
    found = shipped.get(MORE.get(kind, ""), [])
    begun = [f"{name.partition(':')[0]}:" if name.partition(":")[2].isupper() else name for name in found]
    return [name for name in begun if ".py:" not in name]


def _walk(command: Any, words: tuple[str, ...], found: dict[str, Any]) -> None:
    options: list[str] = []
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            chosen = [name for name in parameter.opts if name not in OWN]
            options += chosen if parameter.is_flag else [f"{name}=" for name in chosen]
    inner = getattr(command, "commands", {})
    if not inner or not words:
        sentence = (command.help or "").split(". ")[0].split("\n")[0]
        line = " ".join(words)
        found[line] = {"help": sentence, "topics": TOPICS.get(line, []), "options": options}
    for name, each in inner.items():
        _walk(each, (*words, name), found)


def main() -> None:
    NAMES.write_text(collected(), encoding="utf-8")


if __name__ == "__main__":
    main()
