"""The format ``csv``: all rows of results as comma-separated values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underfire.errors import StoreError
from underfire.reports.detected import NOTICED, Detected
from underfire.runs.run import Run

if TYPE_CHECKING:
    import pyarrow as pa


def write_csv(runs: Sequence[tuple[Run, Mapping[str, Any]]], out: Path) -> None:
    """Write the rows of ``results.parquet`` as CSV, in batches, so that memory does not grow with the runs.

    What tells a run apart comes first, in columns of its own; as ``setting_NAME`` if the rows have a column NAME
    already. Detectors that have scored a run add two columns each, ``score_NAME`` and ``noticed_NAME``. A column that a
    run does not have is empty in its rows.

    Raises:
        StoreError: the results.parquet of a run is missing or broken.
    """
    import pyarrow as pa
    import pyarrow.csv

    schemas = []
    for run, _ in runs:
        run.warn_if_outdated()
        with _opened(run) as results:
            schemas.append(results.schema_arrow)
    rows = pa.unify_schemas(schemas, promote_options="permissive")
    told = [{f"setting_{name}" if name in rows.names else name: each[name] for name in each} for _, each in runs]
    first = [pa.field(name, _kind([each[name] for each in told])) for name in told[0]]
    scored = [Detected.of(run.path) for run, _ in runs]
    last = dict.fromkeys(name for held in scored if held is not None for name in held.columns)
    wanted = pa.schema([*first, *rows, *(pa.field(name, _score_kind(name)) for name in last)])
    with pyarrow.csv.CSVWriter(out, wanted) as writer:
        for (run, _), values, held in zip(runs, told, scored, strict=True):
            for batch in _batches(run):
                writer.write_batch(_filled(batch if held is None else _with_scores(batch, held), values, wanted))


@contextmanager
def _opened(run: Run) -> Iterator[Any]:
    """Open the table of a run, to be read with its checksums: changed bytes are no numbers of the run."""
    import pyarrow.parquet as pq

    with _reading(run.path / "results.parquet"):
        results = pq.ParquetFile(run.path / "results.parquet", page_checksum_verification=True)
    with results:
        yield results


def _batches(run: Run) -> Iterator[pa.RecordBatch]:
    with _opened(run) as results:
        batches = results.iter_batches()
        while True:
            with _reading(run.path / "results.parquet"):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn an error of reading the table into a StoreError. Errors of writing the CSV file are not the table's."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path} cannot be read: {error}. 'underfire report --tables' makes it again.") from error


def _kind(values: Sequence[Any]) -> pa.DataType:
    """Choose the type of a column for settings: text, unless all are numbers, or all are true or false."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {int, float} else pa.string()


def _score_kind(name: str) -> pa.DataType:
    import pyarrow as pa

    return pa.bool_() if name.startswith(NOTICED) else pa.float64()


def _with_scores(batch: pa.RecordBatch, held: Detected) -> pa.RecordBatch:
    """Add the columns of detectors to rows; empty for images that were not scored."""
    import pyarrow as pa

    pairs = zip(batch["cell"].to_pylist(), batch["image_id"].to_pylist(), strict=True)
    rows = [held.values(*pair) for pair in pairs]
    for name in held.columns:
        batch = batch.append_column(name, pa.array([row.get(name) for row in rows], _score_kind(name)))
    return batch


def _filled(batch: pa.RecordBatch, values: Mapping[str, Any], wanted: pa.Schema) -> pa.RecordBatch:
    """Give rows all columns of ``wanted``: one of ``values`` has that value in each row."""
    import pyarrow as pa

    def column(field: pa.Field) -> pa.Array:
        if field.name in batch.schema.names:
            return batch[field.name].cast(field.type)
        value = values.get(field.name)
        text = str(value) if pa.types.is_string(field.type) and value is not None else value
        return pa.array([text] * len(batch), field.type)

    return pa.RecordBatch.from_arrays([column(field) for field in wanted], schema=wanted)
