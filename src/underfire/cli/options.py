"""Options of commands, made from settings: each setting is declared once, in the model that holds it."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING
from typing import Annotated, Any

import typer

from underfire.errors import InputError, warn_deprecated
from underfire.settings import Setting, settings_of

FORMER, OFF = "former_", "off_"
"""Beginnings of the names of parameters for former names, and for flags that set False."""
Command = Callable[..., None]


def option(metavar: str, help: str, name: str, **others: Any) -> Any:
    """Make an option with a short word for its value, so that the help has room. Brackets in ``help`` are no markup."""
    return typer.Option(name, metavar=metavar, help=help.replace("[", "\\["), **others)


def flag(name: str, help: str, **others: Any) -> Any:
    """Make an option without a value."""
    return typer.Option(name, metavar="", help=help.replace("[", "\\["), **others)


Device = Annotated[str, option("NAME", "Device: auto, cpu, cuda, cuda:1.", "--device")]


def names_of(name: str, described: Setting) -> tuple[str, ...]:
    """Return the names of a setting on the command line."""
    return described.flags or (f"--{name.replace('_', '-')}",)


def help_of(field: Any, described: Setting) -> str:
    """Return the help text of a setting, with its default."""
    if field.default is MISSING:
        return f"{described.help} [required]"
    if described.default:
        return f"{described.help} [default: {described.default}]"
    if described.kind is bool or field.default in (None, (), 0):
        return described.help
    shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    return f"{described.help} [default: {shown}]"


def takes(model: type, first: Sequence[str] = ("data", "classifier")) -> Callable[[Command], Command]:
    """Give a command the options of a settings model.

    The command gets the values that were given, and only these, as its argument ``given``: texts for most settings, and
    booleans for flags.

    Args:
        model: a dataclass with settings.
        first: settings that stand in the help before the command's own parameters.
    """

    def decorate(command: Command) -> Command:
        hints = typing.get_type_hints(command, include_extras=True)
        own = [p for p in inspect.signature(command).parameters.values() if p.name != "given"]
        parameters = [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        settings = settings_of(model)
        made = {name: _parameters(name, *pair) for name, pair in settings.items()}
        before = [p for name in first for p in made[name]]
        parameters = [*before, *parameters, *(p for name in made if name not in first for p in made[name])]

        def run(**values: Any) -> None:
            given: dict[str, Any] = {}
            for name, (field, described) in settings.items():
                value, off = values.pop(name, None), values.pop(f"{OFF}{name}", None)
                if off:
                    if value:
                        raise InputError(f"{names_of(name, described)[0]} and {described.off} contradict each other.")
                    value = False
                former = values.pop(f"{FORMER}{name}", None)
                if former is not None:
                    warn_deprecated(described.former[0], names_of(name, described)[0])
                    value = former if value is None else value
                if value is None or value == []:
                    continue
                given[name] = _value(value, field, described)
            command(**values, given=given)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def _parameters(name: str, field: Any, described: Setting) -> list[inspect.Parameter]:
    """Make the parameter of a setting, one for the flag that sets False, and a hidden one for former names."""
    kind = bool | None if described.kind is bool else list[str] | None if described.many else str | None
    names = names_of(name, described)
    shared: dict[str, Any] = {"show_default": False, "rich_help_panel": described.panel}
    shared["metavar"] = described.metavar
    made = typer.Option(*names, help=help_of(field, described).replace("[", "\\["), **shared)
    found = [_parameter(name, Annotated[kind, made])]
    if described.off:
        off = typer.Option(described.off, metavar="", help=f"The opposite of {names[0]}.", show_default=False)
        found.append(_parameter(f"{OFF}{name}", Annotated[kind, off]))
    if described.former:
        hidden = typer.Option(*described.former, hidden=True, show_default=False)
        found.append(_parameter(f"{FORMER}{name}", Annotated[kind, hidden]))
    return found


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _value(value: Any, field: Any, described: Setting) -> Any:
    """Turn what was given on the command line into the setting's value or its text."""
    if described.kind is bool and field.default is True:  # a flag that switches off, such as --untargeted
        return not value
    if described.many:
        parse = described.parse or (lambda text: (text,))
        return tuple(part for each in value for part in parse(each))
    return value
