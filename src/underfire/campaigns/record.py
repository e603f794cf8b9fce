"""The record of a campaign, ``campaign.json``: reading, checking and writing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from underfire.campaigns.grid import Grid
from underfire.errors import StoreError
from underfire.runs.disk import replace, writing
from underfire.runs.manifest import digest_of

FORMAT = 1
"""The version of a campaign's folder."""
FILE = "campaign.json"
State = Literal["waiting", "begun", "finished", "failed"]


@dataclass(frozen=True)
class Entry:
    """One run of a campaign.

    Args:
        name: its name, and that of its folder in ``runs/``.
        values: the settings that set it apart from the other runs.
        state: ``waiting``, ``begun``, ``finished`` or ``failed``.
        error: why it failed; empty if it did not.
    """

    name: str
    values: dict[str, Any]
    state: State = "waiting"
    error: str = ""


@dataclass(frozen=True)
class Record:
    """The content of ``campaign.json``.

    Args:
        grid: the campaign file's content.
        entries: the runs, in the order of the grid.
        configurations: all settings of each run by its name, as JSON values.
    """

    grid: Grid
    entries: list[Entry]
    configurations: dict[str, dict[str, Any]]


class DamagedRecordError(StoreError):
    """``campaign.json`` is not what underfire wrote. A resumed campaign makes it again."""


def read_record(folder: Path) -> Record:
    """Read ``campaign.json``.

    Raises:
        DamagedRecordError: the file is not what underfire wrote.
        StoreError: there is none, or a later version of underfire wrote it.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"{folder} holds no campaign: {FILE} is missing. Did 'underfire run' write it?") from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # no JSON, or no text at all
        raise _damaged(path, "it is no JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, f"it holds a {type(content).__name__}")
    form = content.get("format")
    if isinstance(form, int) and form > FORMAT:
        raise StoreError(
            f"{folder} has campaign format {form}, and this version of underfire reads formats up to {FORMAT}: "
            "update underfire."
        )
    digest = content.pop("sha256", None)
    if digest is not None and digest != digest_of(content):
        raise _damaged(path, "it was changed")
    try:
        record = Record(
            Grid.model_validate(content["grid"]),
            [Entry(**values) for values in content["runs"]],
            {name: dict(values) for name, values in content["configurations"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "parts of it are missing or have another type") from error
    for entry in record.entries:
        known = entry.name in record.configurations and entry.state in get_args(State)
        if not known or Path(str(entry.name)).name != entry.name:
            raise _damaged(path, f"its entry of the run {entry.name!r:.60} is impossible")
    return record


def write_record(folder: Path, record: Record) -> None:
    """Write ``campaign.json``. Raises StoreError if the folder cannot be written."""
    content: Mapping[str, Any] = {
        "format": FORMAT,
        "name": record.grid.name,
        "grid": record.grid.model_dump(),
        "runs": [asdict(entry) for entry in record.entries],
        "configurations": record.configurations,
    }
    content = json.loads(json.dumps(content))
    text = json.dumps({**content, "sha256": digest_of(content)}, indent=1) + "\n"
    with writing(folder):
        replace(folder / FILE, lambda part: part.write_text(text, encoding="utf-8"))


def _damaged(path: Path, why: str) -> DamagedRecordError:
    return DamagedRecordError(f"{path} is damaged: {why}. 'underfire run FILE --out FOLDER --resume' makes it again.")
