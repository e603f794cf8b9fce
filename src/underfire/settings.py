"""Settings that are declared once: a field of a dataclass that also knows its words for the command line.

The command line, configuration files and Python calls all derive from these fields, so that a setting has one name, one
default and one description everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

KEY = "underfire"


@dataclass(frozen=True)
class Setting:
    """The description of a setting.

    Args:
        help: one sentence for help texts.
        metavar: a short word for the value in help texts, such as ``EPS``; empty for a flag.
        flags: names on the command line; ``--field-name`` if empty.
        former: earlier names on the command line, which still work and warn.
        parse: turns the text of the command line or of a file into the value; texts stay as they are if None.
        default: words for the default, if the default is decided later (the field's own default is None then).
        panel: the heading in help texts under which the setting stands.
        many: True if the option may be repeated; the value is a tuple then.
    """

    help: str
    metavar: str = ""
    flags: tuple[str, ...] = ()
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
