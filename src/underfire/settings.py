"""Settings that are declared once: dataclass fields that also have a name and a help text for the command line.

The command line, configuration files and Python calls all derive from these fields, so that a setting has one name, one
default and one description everywhere.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from underfire.errors import InputError, SeveralInputsError, plain_words, unknown_name, warn_deprecated

KEY = "underfire"
T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """The description of a setting.

    Args:
        help: one sentence for help texts.
        metavar: a short word for the value in help texts, such as ``EPS``; empty for a flag.
        kind: the type of the value in files and on the command line.
        least, most: the smallest and the largest allowed number.
        flags: names on the command line; ``--field-name`` if empty. A setting of kind ``bool`` has two: the name for
            true, then the name for false.
        former: earlier names on the command line, which still work and warn.
        parse: turns text into the value; texts are converted to ``kind`` if None.
        default: words for the default, if the default is decided later (the field's own default is None then).
        panel: the heading in help texts under which the setting stands.
        many: True if the option may be repeated; the value is a tuple then, and ``parse`` returns tuples, too.
    """

    help: str
    metavar: str = ""
    kind: Any = str
    least: int | None = None
    most: int | None = None
    flags: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    default: str = ""
    panel: str | None = None
    many: bool = False

    def names(self, field: str) -> tuple[str, ...]:
        """Return the names of the setting called ``field`` on the command line."""
        return self.flags or (f"--{field.replace('_', '-')}",)


def setting(help: str, metavar: str = "", *, value: Any = dataclasses.MISSING, **described: Any) -> Any:
    """Declare a setting as a dataclass field.

    Args:
        help, metavar, described: see ``Setting``.
        value: the field's default; a required field if not given.
    """
    return dataclasses.field(default=value, metadata={KEY: Setting(help, metavar, **described)})


def settings_of(model: type) -> dict[str, tuple[dataclasses.Field[Any], Setting]]:
    """List the settings of a dataclass, by name, in the order of their declaration.

    A subclass that gives a setting another default keeps its description.
    """
    found = {}
    for field in dataclasses.fields(model):
        bases = [base.__dict__.get("__dataclass_fields__", {}).get(field.name) for base in model.__mro__]
        described = [each.metadata[KEY] for each in bases if each is not None and KEY in each.metadata]
        if described:
            found[field.name] = (field, described[0])
    return found


class Problems(list[InputError]):
    """Collects errors, so that a user hears of all problems at once."""

    @contextmanager
    def noted(self, setting: str | None = None) -> Iterator[None]:
        """Collect an InputError of the block, which is about ``setting``, instead of raising it."""
        try:
            yield
        except InputError as error:
            for each in error.each if isinstance(error, SeveralInputsError) else [error]:
                each.setting = each.setting or setting
                self.append(each)

    def add(self, sentences: Mapping[str, str]) -> None:
        """Collect an InputError for each sentence, by the name of the setting that it is about."""
        for name, sentence in sentences.items():
            with self.noted(name):
                raise InputError(sentence)

    def report(self) -> None:
        """Raise one InputError for all collected errors, if there is any."""
        if len(self) == 1:
            raise self[0]
        if self:
            raise SeveralInputsError(self)


def former_names(model: type) -> dict[str, str]:
    """Return the present name for each former name of a setting."""
    return {
        flag.removeprefix("--").replace("-", "_"): name
        for name, (_, described) in settings_of(model).items()
        for flag in described.former
    }


def required(model: type) -> list[str]:
    """List the settings that have no default."""
    return [name for name, (field, _) in settings_of(model).items() if field.default is dataclasses.MISSING]


def create(model: type[T], values: Mapping[str, Any], *, warn: bool = False) -> T:
    """Make a settings object from texts or values, as they come from a command line or a file.

    Args:
        model: a dataclass with settings.
        values: settings by name; None stands for the default. Former names are accepted.
        warn: warn of former names.

    Raises:
        InputError: one sentence for each problem: an unknown name, a missing value, a value of the wrong type.
    """
    return model(**_from_texts(model, values, warn))


def changed(made: T, values: Mapping[str, Any]) -> T:
    """Return a copy of a settings object with other values for some settings.

    Args:
        made: an instance of a dataclass with settings.
        values: texts or values by name, as for ``create``.

    Raises:
        InputError: as in ``create``.
    """
    return dataclasses.replace(made, **_from_texts(type(made), values, True))  # type: ignore[type-var]  # T is a dataclass


def _from_texts(model: type, values: Mapping[str, Any], warn: bool) -> dict[str, Any]:
    """Parse and check the values that are given. Raises InputError with one sentence for each problem."""
    known, former = settings_of(model), former_names(model)
    problems, found = Problems(), {}
    for called, value in values.items():
        name = former.get(called, called)
        if name not in known:
            problems.append(unknown_name("setting", called, known))
        elif name != called and name in values:
            problems.append(InputError(f"{called} is the former name of {name}; give {name} alone."))
        elif value is not None:
            if name != called and warn:
                warn_deprecated(f"the setting {called}", name)
            with problems.noted(name):
                found[name] = _parsed(known[name][1], value)
    checked, wrong = _checked(model, found)
    problems.add(wrong)
    problems.report()
    return checked


def settle(made: Any) -> None:
    """Check and convert the values of a settings object, as ``create`` does, for objects that are made directly.

    Raises:
        InputError: one sentence for each problem.
    """
    problems, found = Problems(), {}
    for name, (field, described) in settings_of(type(made)).items():
        value = getattr(made, name)
        if value is None and field.default is not dataclasses.MISSING:
            object.__setattr__(made, name, field.default)
        elif value is not None:
            with problems.noted(name):
                found[name] = _parsed(described, value)
    checked, wrong = _checked(type(made), found)
    problems.add(wrong)
    problems.report()
    for name, value in checked.items():
        object.__setattr__(made, name, value)


def _parsed(described: Setting, value: Any) -> Any:
    """Parse a text, or what stands for one: a path, or a number, because a file may hold 224 for "224"."""
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if described.many:
        if isinstance(value, Mapping):
            value = [f"{name}={number!r}" for name, number in value.items()]
        parse = described.parse or (lambda text: (text,))
        given = value if isinstance(value, list | tuple) else (value,)
        texts = [os.fspath(each) if isinstance(each, os.PathLike) else each for each in given]
        return tuple(part for each in texts for part in (parse(each) if isinstance(each, str) else (each,)))
    if described.parse is None or isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    return described.parse(str(value))


def _checked(model: type, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Convert values to the types of their settings. Returns them, and a sentence for each wrong one, by its name."""
    from pydantic import ValidationError

    try:
        made = _validator(model)(**values)
    except ValidationError as error:
        wrong = {str(problem["loc"][0]): _sentence(problem) for problem in reversed(error.errors())}
        return {}, dict(reversed(wrong.items()))
    return {name: getattr(made, name) for name in values}, {}


@lru_cache
def _validator(model: type) -> Any:
    """Make the pydantic model that checks the values of a settings class. Absent values get no default."""
    from pydantic import ConfigDict, Field, create_model

    fields: dict[str, Any] = {}
    for name, (field, described) in settings_of(model).items():
        required = field.default is dataclasses.MISSING
        limits = {"ge": described.least, "le": described.most}
        constraints: dict[str, Any] = {key: limit for key, limit in limits.items() if limit is not None}
        kind = described.kind if required else described.kind | None
        fields[name] = (kind, Field(... if required else None, **constraints))
    config = ConfigDict(protected_namespaces=(), coerce_numbers_to_str=True)
    return create_model(model.__name__, __config__=config, **fields)


def _sentence(problem: Any) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "missing":
        return f"{name} is missing; expected --{name.replace('_', '-')}, or {name} in the configuration."
    if name == "count" and problem["type"] == "greater_than_equal":
        return few_images(problem["input"])
    said = plain_words(problem["msg"])
    said = said.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    limited = problem["type"] in ("greater_than_equal", "less_than_equal")
    value = problem["input"] if limited else repr(problem["input"])  # the text "0" is a number here
    return f"{name} is {value}; {said[0].lower()}{said[1:]}."


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
