"""The format ``csv``: all rows of results as comma-separated values."""

from __future__ import annotations

from pathlib import Path

from underfire.errors import StoreError
from underfire.runs.run import Run


def write_csv(run: Run, out: Path) -> None:
    """Write the rows of ``results.parquet`` as CSV, in batches, so that memory does not grow with the run.

    Raises:
        StoreError: the run's results.parquet is missing or broken.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    run.warn_if_outdated()
    path = run.path / "results.parquet"
    try:
        with pq.ParquetFile(path) as results, pyarrow.csv.CSVWriter(out, results.schema_arrow) as writer:
            for batch in results.iter_batches():
                writer.write_batch(batch)
    except (FileNotFoundError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}. 'underfire report --tables' makes it again.") from error
