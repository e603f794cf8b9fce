"""The format ``csv``: all rows of results as comma-separated values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underfire.errors import StoreError
from underfire.reports.detected import NOTICED, Detected
from underfire.runs.run import Run

if TYPE_CHECKING:
    import pyarrow as pa


def write_csv(run: Run, out: Path) -> None:
    """Write the rows of ``results.parquet`` as CSV, in batches, so that memory does not grow with the run.

    Detectors that have scored the run add two columns each, ``score_NAME`` and ``noticed_NAME``.

    Raises:
        StoreError: the run's results.parquet is missing or broken.
    """
    import pyarrow.parquet as pq

    run.warn_if_outdated()
    path, held = run.path / "results.parquet", Detected.of(run.path)
    with _reading(path):
        results = pq.ParquetFile(path, page_checksum_verification=True)  # changed bytes are no numbers of the run
    with results, _writer(out, results.schema_arrow, held) as writer:
        batches = results.iter_batches()
        while True:
            with _reading(path):
                batch = next(batches, None)
            if batch is None:
                return
            writer.write_batch(batch if held is None else _with_scores(batch, held))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn an error of reading the table into a StoreError. Errors of writing the CSV file are not the table's."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}. 'underfire report --tables' makes it again.") from error


def _writer(out: Path, schema: pa.Schema, held: Detected | None) -> Any:
    """Open the CSV file for rows of this schema, and of the columns of detectors."""
    import pyarrow as pa
    import pyarrow.csv

    for name in () if held is None else held.columns:
        schema = schema.append(pa.field(name, pa.bool_() if name.startswith(NOTICED) else pa.float64()))
    return pyarrow.csv.CSVWriter(out, schema)


def _with_scores(batch: pa.RecordBatch, held: Detected) -> pa.RecordBatch:
    """Add the columns of detectors to rows; empty for images that were not scored."""
    import pyarrow as pa

    pairs = zip(batch["cell"].to_pylist(), batch["image_id"].to_pylist(), strict=True)
    rows = [held.values(*pair) for pair in pairs]
    for name in held.columns:
        kind = pa.bool_() if name.startswith(NOTICED) else pa.float64()
        batch = batch.append_column(name, pa.array([row.get(name) for row in rows], kind))
    return batch
