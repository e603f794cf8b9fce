"""The identity of the parts of a run, as text that is the same in every process."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from underfire import user_files
from underfire.attacks.evading import RECORD
from underfire.errors import StoreError
from underfire.system import System

_OF_THE_PROCESS = re.compile(rf" at 0x[0-9a-f]+|\b{user_files.MODULE}\w+\.")
"""Finds the parts of a ``repr`` that differ between processes: memory addresses, and modules made of users' files."""


def described(part: Any) -> str:
    """Describe a part of an attack: its ``repr``, without what depends on the process or on the folder of a file."""
    return _OF_THE_PROCESS.sub("", part if isinstance(part, str) else repr(part))


def identities(system: System) -> dict[str, str]:
    """Describe all that the maps of a system's interpreters depend on, except the classifier, by interpreter."""
    return {name: described(part.known_by(system.classifier)) for name, part in system.interpreters.items()}


def code_of(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Hash the user's files that a configuration names as ``file.py:name``, also inside of other names.

    Args:
        configuration: the settings, as JSON values.

    Returns:
        The SHA-256 of each file, by ``file.py:name`` without its folder; several hashes if several files have one name.
    """
    found: dict[str, set[str]] = {}
    for text in _texts(configuration.values()):
        for file, name in user_files.named_in(text):
            found.setdefault(f"{Path(file).name}:{name}", set()).add(user_files.fingerprint(file))
    return {name: " ".join(sorted(hashes)) for name, hashes in sorted(found.items())}


def detectors_of(folders: Sequence[Path], places: Sequence[Path] | None = None) -> dict[str, str]:
    """Hash the fitted detectors that a configuration names: the SHA-256 of ``detector.json``, by folder.

    This file holds the hash of the detector's tensors, which is checked when the detector is opened.

    Args:
        folders: as the configuration names them.
        places: where the detectors are read, one for each folder; in these folders if None.

    Raises:
        StoreError: a folder holds no detector.
    """
    found = {}
    for folder, place in zip(folders, places or folders, strict=True):
        try:
            found[str(folder)] = hashlib.sha256((place / RECORD).read_bytes()).hexdigest()
        except OSError as error:
            raise StoreError(
                f"{place} holds no detector that could be evaded: {RECORD} cannot be read "
                f"({error.strerror or error}). Expected a folder that 'underfire detect fit' wrote."
            ) from error
    return found


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _texts(value)
