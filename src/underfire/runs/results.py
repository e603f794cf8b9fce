"""Finishing a run: the files that are made from its cells, one shard at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from underfire.attacks.measures import MEASURES
from underfire.errors import StoreError, warn
from underfire.runs.cell_folder import CellFolder
from underfire.runs.columns import TRACE, by_position, schema
from underfire.runs.comparison import SETTLED, Comparison, settled
from underfire.runs.folder import read_table
from underfire.runs.manifest import entries_of
from underfire.runs.outdated import is_outdated, warn_if_outdated
from underfire.runs.run import Run
from underfire.runs.store import Store

MADE = ("results.parquet", "trace.parquet", "summary.json")
"""The files of a run that are made from its shards."""


def write_results(run: Run) -> dict[str, Any]:
    """Write ``results.parquet``, ``trace.parquet`` and ``summary.json`` of a run whose cells are complete.

    They hold nothing that the cells do not, apart from joint success, and can be made again at any time. Only one shard
    is in memory at a time. Their hashes go into ``run.json``, under ``made``.

    Returns:
        The content of ``summary.json``.

    Raises:
        StoreError: the run was written by an earlier version, or a file cannot be read or written.
    """
    files = run.files
    if not isinstance(files, CellFolder):
        raise StoreError(f"the run in {run.path} was written by an earlier version; its tables are there already.")
    store = Store(run.path, run.configuration, resume=True)
    settled = [measure for measure in MEASURES.values() if measure.compute is None]
    wanted = schema([*settled, *run.measures], settled=True)
    store.write_tables("results.parquet", _results(files, run.comparisons, wanted), wanted)
    store.write_tables("trace.parquet", _traces(files), TRACE)
    summary = run.summary()
    store.write_json("summary.json", summary)
    store.update_run(made=entries_of(run.path, MADE))
    return summary


def current_summary(run: Run, held: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a finished run by today's limit of a kept map.

    If an earlier version made the tables, by another limit, they are made again, with a warning. Those of a folder of
    format 1 stay as they are, and a warning says that they differ from the summary that is returned.

    Args:
        run: the run.
        held: the content of its ``summary.json``.
    """
    if not is_outdated(held):
        return dict(held)
    if not isinstance(run.files, CellFolder):
        warn_if_outdated(run.path, cells=False)
        return run.summary()
    warn(
        f"the tables of the run in {run.path} were of an earlier version, and counted joint success by another limit "
        "of a kept map: results.parquet, trace.parquet and summary.json are made again."
    )
    return write_results(run)


def _results(files: CellFolder, comparisons: list[Comparison], wanted: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows of each shard with joint success, image by image in the data's order."""
    joint = _settled(comparisons)
    place = {image_id: number for number, image_id in enumerate(files.image_ids)}
    for shard in range(files.shards):
        tables = []
        for label in files.cells:
            table = files.shard_rows(label, shard)
            ids, names = table["image_id"].to_pylist(), table["interpreter"].to_pylist()
            rows = [place.get(image_id, -1) for image_id in ids]
            for column in SETTLED:
                unknown = False if column.startswith("joint_success") else None
                values = [
                    joint[column, label, name][row].item() if row >= 0 and (column, label, name) in joint else unknown
                    for name, row in zip(names, rows, strict=True)
                ]
                known = [None if value != value else value for value in values]  # NaN: null
                array = pa.array(known, wanted.field(column).type)
                table = table.append_column(column, array)
            tables.append(table.select(wanted.names).cast(wanted))
        yield by_position(pa.concat_tables(tables))


def _settled(comparisons: list[Comparison]) -> dict[tuple[str, str, str], Any]:
    """Settle joint success and the chance control of every cell and interpreter, N values each."""
    keys = {(label, name) for part in comparisons for label in part.labels.values() for name in part.interpreters}
    return {
        (column, label, name): settled(comparisons, label, name, column) for label, name in keys for column in SETTLED
    }


def _traces(files: CellFolder) -> Iterator[pa.Table]:
    for shard in range(files.shards):
        tables = [read_table(file) for label in files.cells if (file := files.file(label, shard, "trace")).exists()]
        if tables:
            yield by_position(pa.concat_tables(tables))
