"""Configuration files of ``underfire attack``: TOML with the names of the settings."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from underfire.errors import InputError, unknown_name
from underfire.settings import settings_of, to_values

OWN = ("out", "batch_size", "device")
"""Keys of a file that are no settings of the run: they do not change its results."""


def read_configuration(path: Path, model: type) -> dict[str, Any]:
    """Read a TOML file whose keys are settings of ``model``, or ``out``, ``batch_size`` and ``device``.

    Raises:
        InputError: the file cannot be read, is no TOML, or has an unknown key; the message gives the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"config is {str(path)!r}, which cannot be read: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"config is {str(path)!r}, which is no TOML: {error}.") from error
    known = (*settings_of(model), *OWN)
    for key in values:
        if key not in known:
            raise InputError(f"{path}, line {_line(text, key)}: {unknown_name('setting', key, known)}")
    return values


def _line(text: str, key: str) -> int:
    """Find the line of a key; 1 if it is written in an unusual way."""
    quoted = re.escape(key)
    lines = text.splitlines()
    found = [n for n, line in enumerate(lines, 1) if re.match(rf"""\s*\[?["']?{quoted}["']?\s*[=\].]""", line)]
    return found[0] if found else 1


def written(settings: Any, own: Mapping[str, Any]) -> str:
    """Write settings as TOML that ``read_configuration`` reads back. Settings without a value become comments."""
    lines = []
    for name, value in (to_values(settings) | dict(own)).items():
        lines.append(f"# {name} = (default)" if value is None else f"{name} = {_toml(value)}")
    return "\n".join([*lines, ""])


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
