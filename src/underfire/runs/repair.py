"""Repair: a resumed run checks what its folder holds before it believes it, and does again what is damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from underfire.errors import warn
from underfire.runs.cells import Cell
from underfire.runs.disk import writing
from underfire.runs.manifest import SUFFIX, manifest_file, verify
from underfire.runs.store import Store
from underfire.text import first_few


def drop_damaged(
    store: Store, cells: Mapping[str, Cell], shards: Sequence[Sequence[int]], attacked: Sequence[bool]
) -> None:
    """Hash every file of every complete shard, and remove the manifests of damaged shards, so that they are done again.

    One warning names the damage. A run that has just begun holds nothing, so that there is nothing to do.

    Args:
        store: the run's folder.
        cells: the cells by label, in the order in which they run.
        shards: the places of the images of each shard among those that the run looked at.
        attacked: for each image that the run looked at, True if it is attacked.
    """
    order = list(product(range(len(shards)), cells.values()))
    complete = [place for place, (index, cell) in enumerate(order) if store.has_shard(cell.key, index)]
    counted = store.read_run().get("shards", len(shards))
    problems = [f"run.json counts {counted} parts instead of {len(shards)}"] if counted != len(shards) else []
    stopped = not problems
    for place, (index, cell) in enumerate(order):
        path = manifest_file(store.folder, cell.key, index)
        name = f"part {index + 1} of {cell.label}"
        if place not in complete:
            later = complete and place < complete[-1]
            if later or store.shard_file(cell.key, index, "parquet").exists():
                problems.append(f"{path.relative_to(store.folder).as_posix()} is missing ({name})")
            continue
        expected = [spot for spot in shards[index] if attacked[spot] or cell.kind == "clean"]
        found = verify(store.folder, cell.key, index, expected)
        if found:
            stopped = False
            problems += [f"{problem} ({name})" for problem in found]
            with writing(store.folder):
                path.unlink()
    if problems:
        store.update_run(finished=False)
        # A run that is killed may have taken later cells over from another run, or made later shards elsewhere.
        cause = "was damaged, or stopped in the middle of a part" if stopped else "was damaged"
        warn(
            f"output folder {store.folder} {cause}: {first_few(problems, separator='; ')}. The parts that are "
            "concerned are done again."
        )


def damage(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """List in words what is wrong with the shards of a finished run of the present folder format.

    Args:
        folder: the run's folder.
        record: the content of its ``run.json``.

    Returns:
        The problems, such as ``images/bim/000000-a.png is missing``; empty if all is well.
    """
    cells = record.get("cells") or [None]
    if "shards" not in record or not all(isinstance(cell, dict) and {"key", "label"} <= cell.keys() for cell in cells):
        return ["run.json lacks its shards or cells"]
    count = record["shards"]
    found: list[str] = []
    for cell in cells:
        for index in range(count):
            found += verify(folder, cell["key"], index)
        held = sum(1 for _ in (folder / "cells" / cell["key"]).glob(f"*.{SUFFIX}"))
        if held > count:
            found.append(f"run.json counts {count} parts of {cell['label']}, and {held} are there")
    return found
