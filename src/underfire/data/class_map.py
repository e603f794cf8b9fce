"""Class maps: files that translate the class names of a data set into the class numbers of a classifier."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from underfire.data.classes import is_number
from underfire.errors import DataError, InputError
from underfire.files import path_of

_LAYOUTS = (
    'JSON {"name": class}, {"class number": ["name", "other name"]} (like imagenet_class_index.json), or a list of '
    "names in the classifier's order; or CSV with the columns name,class. A class is given by its number or by its name"
)


def fold(name: str) -> str:
    """Reduce a name for comparison: case, spaces, underscores, hyphens and the form of Unicode do not count."""
    return "".join(unicodedata.normalize("NFC", name).casefold().replace("_", " ").replace("-", " ").split())


def read_class_map(path: str | Path, classes: Sequence[str] | None = None) -> dict[str, int]:
    """Read a class map.

    Args:
        path: JSON ``{"name": class}``, ``{"class number": ["name", "other name"]}`` (like
            ``imagenet_class_index.json``) or a list of names in the classifier's order; or CSV with the columns
            ``name,class``. A class is given by its number or by its name.
        classes: the classifier's class names, for files that give classes by name.

    Returns:
        The class number of each folded name (see ``fold``). Names of two classes are left out: ImageNet, for example,
        has two classes called "crane".

    Raises:
        DataError: the file is missing, or has another layout.
        InputError: the file names a class that the classifier does not have.
    """
    path = path_of("path", path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"class map {path} cannot be read: {error}") from error
    pairs = _csv_pairs(path, text) if path.suffix.lower() == ".csv" else _json_pairs(path, text)
    if not pairs:
        raise DataError(f"class map {path} names no class; expected {_LAYOUTS}.")
    numbers = {fold(name): number for number, name in enumerate(classes or ())}
    found: dict[str, int] = {}
    for name, given in pairs:
        number = int(given) if is_number(given) else numbers.get(fold(given), -1)
        if number < 0:
            why = "the classifier has no such class" if classes else "expected a number, as its classes have no names"
            raise InputError(f"class map {path} maps {name!r} to {given!r}: {why}.")
        if found.setdefault(fold(name), number) != number:
            found[fold(name)] = -1
    return {name: number for name, number in found.items() if number >= 0}


def _csv_pairs(path: Path, text: str) -> list[tuple[str, str]]:
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]
    if any(len(row) != 2 for row in rows):
        raise DataError(f"class map {path} has rows without exactly two columns; expected {_LAYOUTS}.")
    if rows and rows[0][1].lower() in ("class", "label", "index", "target"):
        rows = rows[1:]
    return [(name, given) for name, given in rows]


def _json_pairs(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        content: Any = json.loads(text)
    except ValueError as error:
        raise DataError(f"class map {path} is not JSON: {error}.") from error
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return [(name, str(number)) for number, name in enumerate(content)]
    pairs = _object_pairs(content) if isinstance(content, Mapping) else None
    if not pairs:
        raise DataError(f"class map {path} has an unknown layout; expected {_LAYOUTS}.")
    return pairs


def _object_pairs(content: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    numbered = all(is_number(key) for key in content)
    pairs: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, list) and numbered and all(isinstance(name, str) for name in value):
            pairs += [(name, key) for name in value]
        elif isinstance(value, str) and numbered and not is_number(value):
            pairs.append((value, key))
        elif isinstance(value, int | str) and not isinstance(value, bool):
            pairs.append((key, str(value)))
        else:
            return None
    return pairs
