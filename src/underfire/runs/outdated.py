"""Finished runs of earlier versions, whose tables count joint success by another limit of a kept map.

Such a run has a ``summary.json`` without a chance control. Its cells hold all that today's limit needs, so that numbers
by both limits would stand side by side if nobody said so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from underfire.errors import StoreError, warn
from underfire.runs.folder import read_summary, results_in


def is_outdated(summary: Mapping[str, Any]) -> bool:
    """Return True if an earlier version made the content of a ``summary.json``, by another limit than today's."""
    return not all("chance" in part for part in results_in(summary))


def warn_if_outdated(folder: Path, cells: bool) -> None:
    """Warn that the tables in a run's folder are of an earlier version, if they are.

    Args:
        folder: the run's folder. Nothing is said if it has no summary.
        cells: True if the run has cells, from which its tables can be made again; False for a folder of format 1.
    """
    try:
        outdated = is_outdated(read_summary(folder))
    except StoreError:
        return
    if outdated:
        rest = (
            f"'underfire report {folder} --tables' makes them again."
            if cells
            else "They cannot be made again from a folder of format 1."
        )
        warn(
            f"results.parquet and summary.json in {folder} are of an earlier version, and count joint success by "
            f"another limit of a kept map than today's page, figure and tables do. {rest}"
        )
