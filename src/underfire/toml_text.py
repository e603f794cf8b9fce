"""Values as TOML text. Python reads TOML, and does not write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from underfire.errors import InputError


def toml_value(name: str, value: Any) -> str:
    """Write a text, number, boolean, list or table of these as a TOML value.

    Args:
        name: its name in errors.
        value: the value. Tables become inline tables.

    Raises:
        InputError: a text holds characters that no text file can hold.
    """
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml_value(name, each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {toml_value(key, each)}' for key, each in value.items())}}}"
    if isinstance(value, bool) or not isinstance(value, str):
        return repr(value).lower()
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{name} is {value!r}, which holds characters that no text file can hold.")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
