"""Configuration files of ``underfire attack``: TOML with the names of the settings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from underfire.errors import InputError, unknown_name
from underfire.settings import Problems, former_names, settings_of
from underfire.toml_text import toml_value


def read_configuration(path: Path, models: Iterable[type]) -> dict[str, Any]:
    """Read a TOML file whose keys are settings of the ``models``; former names are accepted.

    Raises:
        InputError: the file cannot be read, is no TOML, or has unknown keys; the message gives the lines.
    """
    models = list(models)
    try:
        text = path.expanduser().read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"config is {str(path)!r}, which cannot be read: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"config is {str(path)!r}, which is no TOML: {error}.") from error
    known = {name for model in models for name in settings_of(model)}
    former = {old: name for model in models for old, name in former_names(model).items()}
    problems, found = Problems(), {}
    for key, value in values.items():
        name = former.get(key, key)
        if name not in known:
            problems.append(InputError(f"{path}, line {_line(text, key)}: {unknown_name('setting', key, known)}"))
        elif name in found or (name != key and name in values):
            problems.append(InputError(f"{path}, line {_line(text, key)}: {key} is the former name of {name}."))
        found[name] = value
    problems.report()
    return found


def _line(text: str, key: str) -> int:
    """Find the line of a key; 1 if it is written in an unusual way."""
    quoted = re.escape(key)
    lines = text.splitlines()
    found = [n for n, line in enumerate(lines, 1) if re.match(rf"""\s*\[?["']?{quoted}["']?\s*[=\].]""", line)]
    return found[0] if found else 1


def written(values: Mapping[str, Any], models: Iterable[type]) -> str:
    """Write the settings of the ``models`` as TOML that ``read_configuration`` reads back.

    TOML has no word for None: settings without a value become comments, with their default in words.
    """
    lines = []
    for model in models:
        for name, (_, described) in settings_of(model).items():
            value = values[name]
            default = f"  (default: {described.default})" if described.default else ""
            lines.append(f"# {name} is not set{default}" if value is None else f"{name} = {toml_value(name, value)}")
    return "\n".join([*lines, ""])
