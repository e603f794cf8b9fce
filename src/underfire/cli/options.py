"""Options of commands, made from settings: each setting is declared once, in the model that holds it.

Every option states its names. Names that typer derives by itself depend on its version: typer 0.27 takes the word for
the value as the name if the two differ in case alone, so that ``data`` with the word ``DATA`` becomes ``--DATA``.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Annotated, Any

import typer

from underfire.errors import InputError, warn_deprecated
from underfire.settings import Setting, settings_of

Command = Callable[..., None]
Given = dict[str, Any]
"""The settings that the user gives on the command line, by name; the other settings are missing in it."""

USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
"""click's error for wrong usage. Newer versions of typer bring a copy of click, older ones import click."""


def option(metavar: str, help: str, name: str, **others: Any) -> Any:
    """Make an option with a short word for its value, so that the help has room. Brackets in ``help`` are no markup."""
    return typer.Option(name, metavar=metavar, help=help.replace("[", "\\["), **others)


def flag(name: str, help: str, **others: Any) -> Any:
    """Make an option without a value."""
    return typer.Option(name, metavar="", help=help.replace("[", "\\["), **others)


Device = Annotated[str, option("NAME", "Device: auto, cpu, cuda, cuda:1.", "--device")]
Variant = Annotated[
    str,
    option("NAME", "paper or published: the parameters of interpreters, from the papers' text or code.", "--variant"),
]
TestImages = Annotated[
    str | None, option("DATA", "Test images; they are measured, never trained on.", "--test", show_default=False)
]
TestSplit = Annotated[
    str | None,
    option(
        "NAME",
        "The part of --test to take, such as val; without --test, the part of --data. The other details of the data "
        "hold for both.",
        "--test-split",
        show_default=False,
    ),
]
ResumeTraining = Annotated[bool, flag("--resume", "Go on from the checkpoint in the output folder.")]


@dataclass(frozen=True)
class Part:
    """One option of a setting: ``--steps W,J``, or one of the two flags of a setting that is true or false.

    Args:
        parameter: the name of the command's parameter.
        setting: the name of the setting.
        flag: the option's name on the command line.
        value: the value that a flag stands for; None for an option with a value.
        present: the setting's present option, if this option is a former one; else empty.
    """

    parameter: str
    setting: str
    flag: str
    value: bool | None = None
    present: str = ""


def takes(*models: type, demand: bool = True, panels: Mapping[type, str] | None = None) -> Callable[[Command], Command]:
    """Give a command the options of settings.

    The command's parameter ``given`` gets the settings that the user gives: texts for most of them, lists of texts for
    options that may be repeated, and booleans for flags.

    Args:
        models: dataclasses with settings.
        demand: let typer refuse a call without the required settings; otherwise the command has to.
        panels: headings in the help text for the settings of a model that have none.
    """
    chosen = {}
    for model in models:
        for name, (field, described) in settings_of(model).items():
            panel = described.panel or (panels or {}).get(model)
            chosen[name] = (field, dataclasses.replace(described, panel=panel))

    def decorate(command: Command) -> Command:
        parts = [part for name, (_, described) in chosen.items() for part in _parts(name, described)]
        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(command, eval_str=True).parameters.values():
            if own.name == "given":
                parameters += [_parameter(part, *chosen[part.setting], demand) for part in parts]
            else:
                parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        def run(**values: Any) -> None:
            said = {part: values.pop(part.parameter) for part in parts}
            command(given=_given(said), **values)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        run.__dict__["__signature__"] = inspect.Signature(parameters)
        return run

    return decorate


def _parts(name: str, described: Setting) -> Iterator[Part]:
    """List the options of a setting; the former ones stay hidden in the help text."""
    names = described.names(name)
    if described.kind is bool:
        yield Part(f"{name}_on", name, names[0], value=True)
        yield Part(f"{name}_off", name, names[1], value=False)
        return
    yield Part(name, name, names[0])
    for former in described.former:
        yield Part(f"{name}_former", name, former, present=names[0])


def _parameter(part: Part, field: dataclasses.Field[Any], described: Setting, demand: bool) -> inspect.Parameter:
    missing = field.default is MISSING
    kind: Any = bool if part.value is not None else list[str] if described.many else str
    made = typer.Option(
        part.flag,
        metavar=described.metavar,
        help=_help(part, field, described, demand).replace("[", "\\["),
        hidden=bool(part.present) or (part.value is not None and part.value == field.default),
        show_default=False,
        rich_help_panel=described.panel,
    )
    default = inspect.Parameter.empty if missing and demand else False if kind is bool else None
    annotation: Any = Annotated[kind | None if default is None else kind, made]
    return inspect.Parameter(part.parameter, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _help(part: Part, field: dataclasses.Field[Any], described: Setting, demand: bool) -> str:
    """Return the help text of an option, with its default."""
    if field.default is MISSING:
        return described.help if demand else f"{described.help} [required, here or in the file of --config]"
    if part.value is False and field.default is None:
        return f"Turn off {described.names(part.setting)[0]}."
    words = described.default
    if not words and part.value is None and field.default is not None:
        words = ",".join(field.default) if isinstance(field.default, tuple) else str(field.default)
    return f"{described.help} [default: {words}]" if words else described.help


def _given(said: Mapping[Part, Any]) -> Given:
    """Collect what was given. Raises InputError if two options contradict each other."""
    found: Given = {}
    flags: dict[str, str] = {}
    for part, value in said.items():
        if value is None or value is False or value == []:
            continue
        if part.setting in found:
            both = f"{flags[part.setting]} and {part.flag}"
            if part.present:
                raise InputError(f"{both} are two names of one setting; give {part.present} alone.")
            raise InputError(f"{both} contradict each other; give one of them.")
        if part.present:
            warn_deprecated(part.flag, part.present)
        flags[part.setting] = part.flag
        found[part.setting] = value if part.value is None else part.value
    return found
