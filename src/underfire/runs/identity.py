"""The identity of the parts of a run, as text that is the same in every process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from underfire import user_files

_OF_THE_PROCESS = re.compile(rf" at 0x[0-9a-f]+|\b{user_files.MODULE}\w+\.")
"""Finds the parts of a ``repr`` that differ between processes: memory addresses, and modules made of users' files."""


def described(part: Any) -> str:
    """Describe a part of an attack: its ``repr``, without what depends on the process or on the folder of a file."""
    return _OF_THE_PROCESS.sub("", part if isinstance(part, str) else repr(part))


def code_of(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Hash the user's files that a configuration names as ``file.py:name``.

    Args:
        configuration: the settings, as JSON values.

    Returns:
        The SHA-256 of each file, by ``file.py:name`` without its folder; several hashes if several files have one name.
    """
    found: dict[str, set[str]] = {}
    for text in _texts(configuration.values()):
        own = user_files.split(text)
        if own is not None and os.path.isfile(Path(own[0]).expanduser()):
            file, name = own
            found.setdefault(f"{Path(file).name}:{name}", set()).add(user_files.fingerprint(file))
    return {name: " ".join(sorted(hashes)) for name, hashes in sorted(found.items())}


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _texts(value)
