"""Exports: write a finished run in another format. Each format has its own module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from underfire.errors import UnderfireError, UserCodeError
from underfire.registry import Registry
from underfire.reports.exports.csv import write_csv
from underfire.reports.exports.latex import write_latex
from underfire.reports.exports.maps import write_maps
from underfire.reports.output import writing
from underfire.runs.run import Run

Export = Callable[[Run, Path], None]
"""A function that writes a run to a file."""


def _accept(value: Any) -> Export:
    if not callable(value):
        raise TypeError("expected a function that takes a Run and the path of the file to write")
    found: Export = value
    return found


EXPORTS: Registry[Export] = Registry(
    "export format", "underfire.exports", {"csv": write_csv, "latex": write_latex, "maps": write_maps}, _accept
)
"""The export formats of ``underfire export --format``, by name."""


def export(folder: Path | str, format: str, out: Path | str) -> Path:
    """Write a finished run in another format.

    Args:
        folder: the run's folder.
        format: a name in ``EXPORTS``, or ``file.py:name``.
        out: the file to write. Its folder is made if it does not exist.

    Returns:
        The file.

    Raises:
        InputError: ``format`` is unknown.
        StoreError: the folder holds no finished run, or the file cannot be written.
        UserCodeError: the user's export function raises an error.
    """
    write, run = EXPORTS.find(format), Run(folder)
    with writing(Path(out), "export") as part:
        try:
            write(run, part)
        except (UnderfireError, OSError):
            raise
        except Exception as error:  # the user's function may raise anything; the message names it
            raise UserCodeError(f"export format {format!r} fails: {type(error).__name__}: {error}") from error
    return Path(out)
