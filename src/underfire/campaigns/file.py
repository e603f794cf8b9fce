"""Campaign files: TOML whose keys are the fields of a grid and the settings of ``underfire attack``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from underfire.campaigns.grid import Grid, GridError
from underfire.errors import InputError, SeveralInputsError, plain_words, unknown_name
from underfire.runs.settings import RunConfig
from underfire.settings import Problems, former_names, settings_of
from underfire.toml_text import toml_value

SECTIONS = ("settings", "grid", "include", "exclude", "change")


def read_grid(path: Path) -> Grid:
    """Read a campaign file.

    Args:
        path: a TOML file; see ``Grid`` for its content.

    Raises:
        InputError: it cannot be read, is no TOML, has unknown keys (the message gives the line and the nearest known
            key), or describes impossible runs.
    """
    try:
        text = path.expanduser().read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"campaign is {str(path)!r}, which cannot be read: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"campaign is {str(path)!r}, which is no TOML: {error}.") from error
    problems = Problems()
    for key in content:
        if key not in Grid.model_fields:
            problems.append(_at(path, text, key, _unknown(key)))
    for section, values in _settings(content):
        _rename(section, values, path, text, problems)
    problems.report()
    try:
        grid = Grid.model_validate(content)
    except ValidationError as error:
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
            said = InputError(f"{place}: {plain_words(problem['msg'])}.")
            problems.append(_at(path, text, str(problem["loc"][0]), said))
        problems.report()
        raise
    try:
        grid.points()
    except InputError as error:
        problems += [
            _with_line(path, text, each) for each in (error.each if isinstance(error, SeveralInputsError) else [error])
        ]
        problems.report()
    return grid


def write_grid(grid: Grid) -> str:
    """Write a campaign as the text of a file that ``read_grid`` reads back."""
    content = grid.model_dump(exclude_defaults=True)
    top = ("name", "agreed", "full_names", "detectors")
    lines = [f"{name} = {toml_value(name, content[name])}" for name in top if name in content]
    for section in ("settings", "grid"):
        if content.get(section):
            lines += ["", f"[{section}]", *_entries(content[section])]
    for section in ("include", "exclude", "change"):
        for each in content.get(section, ()):
            lines += ["", f"[[{section}]]", *_entries(each)]
    return "\n".join([*lines, ""])


def _entries(values: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {toml_value(name, value)}" for name, value in values.items() if value is not None]


def _settings(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every table of the file whose keys are settings, with the name of its section."""
    for section in SECTIONS:
        found = content.get(section)
        for each in found if isinstance(found, list) else [found]:
            if not isinstance(each, dict):
                continue
            if section == "change":
                parts = [each.get(part) for part in ("where", "set")]
                yield from ((section, part) for part in parts if isinstance(part, dict))
            else:
                yield section, each


def _rename(section: str, values: dict[str, Any], path: Path, text: str, problems: Problems) -> None:
    """Check the names of settings, and give them their present names: ``interpreter`` means ``interpreters``."""
    known, names = settings_of(RunConfig), _present_names()
    for key in list(values):
        name = names.get(key, key)
        if name not in known:
            problems.append(_at(path, text, key, unknown_name("setting", key, known), section))
        elif name != key and name in values:
            problems.append(
                _at(path, text, key, InputError(f"{key} and {name} are one setting; give {name}."), section)
            )
        elif name != key:
            values[name] = values.pop(key)


def _unknown(key: str) -> InputError:
    """Say where a key belongs that stands at the top of the file."""
    if _present_names().get(key) is None:
        return unknown_name("key", key, Grid.model_fields)
    return InputError(f"{key} is a setting of runs; expected below [settings], or below [grid] as a list of values.")


def _with_line(path: Path, text: str, error: InputError) -> InputError:
    """Put the file before an error of a run, and the line of the setting that it is about, if that is certain."""
    names = [key for key, present in _present_names().items() if present == error.setting]
    lines, wanted = text.splitlines(), re.compile(_key(*names))
    if isinstance(error, GridError):
        own_head = re.compile(rf"\s*\[+\s*{error.section}\s*\]")
        heads = [n for n, line in enumerate(lines) if own_head.match(line)]
        inline = next((n for n, line in enumerate(lines) if re.match(_key(error.section), line)), None)
        head = heads[error.number] if error.number < len(heads) else inline
        inside = range(len(lines)) if head is None else range(head, len(lines))
        found = next((n for n in inside if names and wanted.match(lines[n])), head)
        return InputError(f"{path}: {error}" if found is None else f"{path}, line {found + 1}: {error}")
    places = [place for place, line in enumerate(lines) if names and wanted.match(line)]
    if len(places) > 1:  # the lines with the value
        values = error.value if isinstance(error.value, list) else [error.value]
        whole = [re.compile(rf"(?<![\w.]){re.escape(str(each))}(?![\w.])") for each in values]
        given = [lines[place].partition("=")[2] for place in places]
        places = [place for place, line in zip(places, given, strict=True) if all(each.search(line) for each in whole)]
    return InputError(f"{path}, line {places[0] + 1}: {error}" if len(places) == 1 else f"{path}: {error}")


def _present_names() -> dict[str, str]:
    """Return the present name of each setting by all names that it may have in a file."""
    known = settings_of(RunConfig)
    names = former_names(RunConfig)
    for name, (_, described) in known.items():
        names |= {flag.removeprefix("--").replace("-", "_"): name for flag in described.names(name)}
    return names | {name: name for name in known}


def _at(path: Path, text: str, key: str, error: InputError, section: str | None = None) -> InputError:
    """Put the file and the line of a key before an error."""
    return InputError(f"{path}, line {_line(text, key, section)}: {error}")


def _line(text: str, key: str, section: str | None) -> int:
    """Find the line of a key, after the head of its section; 1 if it is written in an unusual way."""
    lines, begin = text.splitlines(), 0
    if section is not None:
        heads = [n for n, line in enumerate(lines) if re.match(rf"\s*\[+{re.escape(section)}[\].]", line)]
        begin = heads[0] if heads else 0
    wanted = re.compile(_key(key))
    return next((n for n, line in enumerate(lines[begin:], begin + 1) if wanted.match(line)), 1)


def _key(*names: str) -> str:
    """Write the regular expression of a line that gives a value to one of these keys, or is the head of its table."""
    any_name = "|".join(map(re.escape, names))
    return rf"""\s*\[*\s*["']?(?:{any_name})["']?\s*[=\].]|.*[{{,]\s*(?:{any_name})\s*="""
