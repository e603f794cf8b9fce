"""Compare two folders of campaigns: every image, row, tensor and table must be the same, apart from measured times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

TIMES = ("seconds",)
"""Columns and entries that hold measured times."""

PASSED_OVER = {".lock"}
"""Files that say nothing about results."""


def compare(one: Path, other: Path) -> tuple[dict[str, int], list[str]]:
    """Compare two campaigns that are finished.

    Args:
        one, other: their folders.

    Returns:
        What was compared, as numbers of ``images``, ``rows``, ``tensors`` and ``runs``, and the differences in words.
    """
    counts = dict.fromkeys(("images", "rows", "tensors", "runs"), 0)
    names, others = _files(one), _files(other)
    found = [f"{name} is missing" for name in sorted(names - others)]
    found += [f"{name} should not be there" for name in sorted(others - names)]
    for name in sorted(names & others):
        ours, theirs = one / name, other / name
        if ours.suffix == ".png":
            counts["images"] += 1
            same = ours.read_bytes() == theirs.read_bytes()
        elif ours.suffix == ".safetensors":
            tensors, same_as = load_file(ours), load_file(theirs)
            counts["tensors"] += len(tensors)
            same = tensors.keys() == same_as.keys() and all(
                torch.equal(tensors[each], same_as[each]) for each in tensors
            )
        elif ours.suffix in (".parquet", ".trace"):
            table = _table(ours)
            counts["rows"] += len(table) if ours.name == "results.parquet" else 0
            same = table.equals(_table(theirs))
        elif ours.name == "summary.json":
            counts["runs"] += 1
            same = _without_times(json.loads(ours.read_text())) == _without_times(json.loads(theirs.read_text()))
        elif ours.name == "campaign.json":
            same = json.loads(ours.read_text())["runs"] == json.loads(theirs.read_text())["runs"]
        else:  # manifests hold hashes of tables with times; run.json says where and when
            same = True
        if not same:
            found.append(f"{name} differs")
    return counts, found


def manifests(folder: Path) -> int:
    """Count the complete shards of all cells of a campaign."""
    return sum(1 for _ in folder.glob("runs/*/cells/*/*.json"))


def _files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in PASSED_OVER
    }


def _table(path: Path) -> Any:
    table = pq.read_table(path)
    return table.drop_columns([name for name in TIMES if name in table.column_names])


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(each) for name, each in value.items() if name not in TIMES}
    return [_without_times(each) for each in value] if isinstance(value, list) else value
