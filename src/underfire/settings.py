"""Settings that are declared once: a field of a dataclass that also knows its words for the command line.

The command line, configuration files and Python calls all derive from these fields, so that a setting has one name, one
default and one description everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from underfire.errors import InputError, plain_words, unknown_name

KEY = "underfire"
T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """The description of a setting.

    Args:
        help: one sentence for help texts.
        metavar: a short word for the value in help texts, such as ``EPS``; empty for a flag.
        kind: the type of the value in files and on the command line.
        least: the smallest allowed number.
        flags: names on the command line; ``--field-name`` if empty.
        off: the flag that sets False, if the default of a flag is neither True nor False.
        former: earlier names on the command line, which still work and warn.
        parse: turns text into the value; texts are converted to ``kind`` if None.
        default: words for the default, if the default is decided later (the field's own default is None then).
        panel: the heading in help texts under which the setting stands.
        many: True if the option may be repeated; the value is a tuple then.
    """

    help: str
    metavar: str = ""
    kind: Any = str
    least: int | None = None
    flags: tuple[str, ...] = ()
    off: str = ""
    former: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    default: str = ""
    panel: str | None = None
    many: bool = False


def setting(help: str, metavar: str = "", *, value: Any = dataclasses.MISSING, **described: Any) -> Any:
    """Declare a setting as a dataclass field.

    Args:
        help, metavar, described: see ``Setting``.
        value: the field's default; a required field if not given.
    """
    return dataclasses.field(default=value, metadata={KEY: Setting(help, metavar, **described)})


def settings_of(model: type) -> dict[str, tuple[dataclasses.Field[Any], Setting]]:
    """List the settings of a dataclass, by name, in the order of their declaration."""
    return {field.name: (field, field.metadata[KEY]) for field in dataclasses.fields(model) if KEY in field.metadata}


def create(model: type[T], values: Mapping[str, Any]) -> T:
    """Make a settings object from texts or values, as they come from a command line or a file.

    None stands for the default.

    Raises:
        InputError: one sentence for each problem: an unknown name, a missing value, a value of the wrong type.
    """
    known = settings_of(model)
    for name in values:
        if name not in known:
            raise unknown_name("setting", name, known)
    problems, found = [], {}
    for name, value in values.items():
        if value is None:
            continue
        parse = known[name][1].parse
        try:
            found[name] = parse(value) if parse is not None and isinstance(value, str) else value
        except InputError as error:
            problems.append(str(error))
    checked, wrong = _checked(model, found)
    if problems or wrong:
        raise InputError(" ".join([*problems, *wrong]))
    return model(**checked)


def _checked(model: type, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Convert values to the types of their settings. Returns them, and a sentence for each problem."""
    from pydantic import ValidationError

    try:
        made = _validator(model)(**values)
    except ValidationError as error:
        return {}, [_sentence(problem) for problem in error.errors()]
    return {name: getattr(made, name) for name in values}, []


@lru_cache
def _validator(model: type) -> Any:
    """Make the pydantic model that checks the values of a settings class. Absent values get no default."""
    from pydantic import ConfigDict, Field, create_model

    fields: dict[str, Any] = {}
    for name, (field, described) in settings_of(model).items():
        required = field.default is dataclasses.MISSING
        constraints: dict[str, Any] = {} if described.least is None else {"ge": described.least}
        kind = described.kind if required else described.kind | None
        fields[name] = (kind, Field(... if required else None, **constraints))
    config = ConfigDict(protected_namespaces=())
    return create_model(model.__name__, __config__=config, **fields)


def _sentence(problem: Any) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "missing":
        return f"{name} is missing; expected --{name.replace('_', '-')}, or {name} in the configuration."
    if name == "count" and problem["type"] == "greater_than_equal":
        return few_images(problem["input"])
    said = plain_words(problem["msg"]).replace("greater than or equal to", "at least")
    return f"{name} is {problem['input']!r}; {said[0].lower()}{said[1:]}."


def few_images(count: int) -> str:
    """Say what is wrong with a number of images below 1."""
    return f"count is {count}; expected at least 1 image."


def to_values(made: Any) -> dict[str, Any]:
    """Return all settings of an object as JSON values."""
    found = {}
    for name in settings_of(type(made)):
        value = getattr(made, name)
        found[name] = list(value) if isinstance(value, tuple) else value
    return found
