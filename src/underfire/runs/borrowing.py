"""Borrowing: a shard of a cell that another run of the same campaign has computed is taken over.

A cell's key is a hash of everything that its numbers depend on. So two runs whose attacks share a classifier and data
have clean images, noise and often the prediction-only attack under the same keys, and only one of them computes these.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from safetensors.torch import load_file

from underfire.errors import StoreError
from underfire.files import part_of
from underfire.runs.cells import Cell
from underfire.runs.folder import read_table
from underfire.runs.manifest import verify
from underfire.runs.places import folder_name
from underfire.runs.shard_files import Shard
from underfire.runs.store import Store


def borrow(store: Store, cell: Cell, index: int, siblings: Sequence[Path]) -> bool:
    """Take over a shard of a cell from another run, if one has it.

    Images are linked to those of the other run where the file system can do that, and copied otherwise. Nothing refers
    to the other folder: it may be removed.

    Args:
        store: the folder that shall get the shard.
        cell: the cell, under the label that it has in this run.
        index: the shard's number.
        siblings: folders of other runs.

    Returns:
        True if the shard was taken over.
    """
    size = store.read_run().get("shard_size") if siblings else None
    for sibling in siblings:
        if sibling == store.folder or not _holds(sibling, cell.key, size):
            continue
        if verify(sibling, cell.key, index):  # not complete yet, or damaged
            continue
        try:
            _take(store, cell, index, sibling, sibling / "cells" / cell.key / f"{index:06d}.parquet")
        except (StoreError, OSError):  # removed at this moment: compute it
            continue
        return True
    return False


def _holds(folder: Path, key: str, size: Any) -> bool:
    """Return True if the run in a folder has a cell with this key, and shards of this size."""
    try:
        record = json.loads((folder / "run.json").read_text())
        return bool(record["shard_size"] == size and any(each["key"] == key for each in record["cells"]))
    except (OSError, ValueError, KeyError, TypeError):  # not begun, or damaged
        return False


def _take(store: Store, cell: Cell, index: int, sibling: Path, place: Path) -> None:
    """Copy a shard: its rows under this run's label, its tensors, its course, and links to its images."""
    rows = read_table(place)
    images = {name: _own_name(name, cell.label) for name in dict.fromkeys(rows["image_file"].to_pylist())}
    for name, own in images.items():
        _link(sibling / name, store.folder / own)
    trace = place.with_suffix(".trace")
    store.write_shard(
        cell.key,
        index,
        Shard(
            _labelled(rows, cell.label, images),
            _labelled(read_table(trace), cell.label, {}) if trace.exists() else rows.slice(0, 0),
            load_file(place.with_suffix(".safetensors")),
        ),
    )


def _own_name(name: str, label: str) -> str:
    """Return the path of an image under this run's label."""
    return f"images/{folder_name(label)}/{name.rsplit('/', 1)[-1]}"


def _labelled(table: pa.Table, label: str, images: dict[str, str]) -> pa.Table:
    """Replace the cell's label, and the paths of images."""
    columns = {"cell": pa.array([label] * len(table), pa.string())}
    if images:
        columns["image_file"] = pa.array([images[name] for name in table["image_file"].to_pylist()], pa.string())
    for name, values in columns.items():
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pc.cast(values, field.type))
    return table


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it where that is impossible. The target appears whole, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    try:
        os.link(source, part)
    except OSError:
        shutil.copyfile(source, part)
    part.replace(target)
    part.unlink(missing_ok=True)  # renaming a link to a file over another link to the same file does nothing
