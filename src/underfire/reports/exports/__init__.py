"""Exports: write a finished run in another format. Each format has its own module."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underfire.campaigns.folder import Campaign
from underfire.campaigns.record import FILE
from underfire.errors import InputError, UnderfireError, UserCodeError
from underfire.files import beside, path_of
from underfire.registry import Registry
from underfire.reports.exports.csv import write_csv
from underfire.reports.exports.huggingface import write_huggingface
from underfire.reports.exports.latex import write_latex
from underfire.reports.exports.maps import write_maps
from underfire.reports.output import writing, writing_folder
from underfire.runs.run import Run


@dataclass(frozen=True)
class FolderExport:
    """An export format that writes a folder, also for all runs of a campaign together.

    Args:
        write: a function that gets the runs, and an empty folder to write into.
    """

    write: Callable[[Sequence[Run], Path], None]


@dataclass(frozen=True)
class TableExport:
    """An export format that writes one file, also for all runs of a campaign together.

    Args:
        write: a function that gets the runs, each with what tells it apart from the others (its name as ``run``, and
            settings; nothing for a run that is exported alone), and the path of the file to write.
    """

    write: Callable[[Sequence[tuple[Run, Mapping[str, Any]]], Path], None]


Export = Callable[[Run, Path], None] | FolderExport | TableExport
"""A function that writes a run to a file, or a format that also takes several runs."""


def _accept(value: Any) -> Export:
    if not callable(value) and not isinstance(value, FolderExport | TableExport):
        raise TypeError("expected a function that takes a Run and the path of the file to write, or a FolderExport")
    found: Export = value
    return found


EXPORTS: Registry[Export] = Registry(
    "export format",
    "underfire.exports",
    {
        "csv": TableExport(write_csv),
        "latex": TableExport(write_latex),
        "maps": write_maps,
        "huggingface": FolderExport(write_huggingface),
    },
    _accept,
)
"""The export formats of ``underfire export --format``, by name."""


def export(folder: Path | str, format: str, out: Path | str | None = None) -> Path:
    """Write a finished run, or all finished runs of a campaign, in another format.

    Args:
        folder: the folder of a run. ``csv``, ``latex`` and formats that write a folder also take that of a campaign.
        format: a name in ``EXPORTS``, or ``file.py:name``.
        out: the file or folder to write. Its own folder is made if it does not exist. May be None for a format that
            writes a folder: ``FOLDER-FORMAT`` then.

    Returns:
        The file or folder.

    Raises:
        InputError: ``format`` is unknown, ``out`` is missing, or ``folder`` is a campaign and the format takes
            one run.
        StoreError: the folder holds no finished run, or the output cannot be written, or is a folder that holds files.
        UserCodeError: the user's export function raises an error.
    """
    how, folder = EXPORTS.find(format), path_of("folder", folder)
    if isinstance(how, FolderExport):
        place = path_of("out", out) if out is not None else beside(folder, f"-{format}")
        runs = [run for run, _ in _runs_of(folder)]
        with writing_folder(place, "export") as part, _called(format):
            how.write(runs, part)
        return place
    if out is None:
        raise InputError(f"out is missing: the format {format!r} writes a file. Give its name.")
    file = path_of("out", out)
    if isinstance(how, TableExport):
        told = _runs_of(folder)
        with writing(file, "export") as part, _called(format):
            how.write(told, part)
        return file
    if (folder / FILE).exists():
        raise InputError(f"{folder} is a campaign, and the format {format!r} takes one run: name a folder below runs/.")
    run = Run(folder)
    with writing(file, "export") as part, _called(format):
        how(run, part)
    return file


def _runs_of(folder: Path) -> list[tuple[Run, Mapping[str, Any]]]:
    """Read a run, or the finished runs of a campaign, each with what tells it apart; nothing for a run alone."""
    if not (folder / FILE).exists():
        return [(Run(folder), {})]
    campaign = Campaign(folder)
    if not campaign.finished:
        raise InputError(f"the campaign in {folder} has no finished run: see 'underfire status {folder}'.")
    return [(campaign.run(entry.name), campaign.apart(entry.name)) for entry in campaign.finished]


@contextmanager
def _called(format: str) -> Iterator[None]:
    """Turn an error of a user's function into a ``UserCodeError`` that names the format."""
    try:
        yield
    except (UnderfireError, OSError):
        raise
    except Exception as error:  # the user's function may raise anything; the message names it
        raise UserCodeError(f"export format {format!r} fails: {type(error).__name__}: {error}") from error
