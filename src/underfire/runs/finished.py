"""A finished run that is resumed: it is believed only if its inputs and its files are what they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from underfire.errors import warn
from underfire.runs.manifest import changes
from underfire.runs.repair import damage
from underfire.runs.results import MADE, write_results
from underfire.runs.run import Run
from underfire.runs.store import FORMAT, Store
from underfire.text import first_few


def is_whole(store: Store, inputs: Callable[[], dict[str, Any]]) -> bool:
    """Check a finished run by hashes, without attacking anything.

    Files that are made from the shards (``summary.json``, ``results.parquet``, ``trace.parquet``) are made again if
    they are missing or damaged, with a warning.

    Args:
        store: the run's folder.
        inputs: makes the hashes of the data and the classifier as they are now, as entries of ``run.json``.

    Returns:
        True if all is well now; False if parts of the run are damaged and must be done again.

    Raises:
        StoreError: the data or the classifier are not those of the run.
    """
    held = store.read_run()
    if held.get("format", 1) < FORMAT - 1:
        return True  # its record has other hashes, and no shards
    store.check_record(inputs(), known_only=True)
    if held["format"] == FORMAT and (damage(store.folder, held) or store.lacks_selection):
        return False
    problems = _missing(store) if "made" not in held else changes(store.folder, held["made"])
    if problems:
        with store.working():
            write_results(Run(store.folder))
        warn(
            f"output folder {store.folder} was damaged: {first_few(problems, separator='; ')}. It is made again from "
            "the run's parts."
        )
    return True


def _missing(store: Store) -> list[str]:
    """List the files made from the shards that are missing or cannot be read, if no hashes of them are known."""
    problems = [f"{name} is missing" for name in MADE if not (store.folder / name).is_file()]
    if not problems:
        try:
            json.loads((store.folder / "summary.json").read_text())
        except (OSError, ValueError):
            problems.append("summary.json cannot be read")
    return problems
