"""Hugging Face's ``imagefolder`` with a table beside the images, in which the column ``file_name`` names them.

The table is ``metadata.csv``, ``metadata.jsonl`` or ``metadata.parquet``:
https://huggingface.co/docs/datasets/image_dataset.
"""

from __future__ import annotations

from underfire.data.tables import Table

METADATA = ("metadata.jsonl", "metadata.parquet")
"""Names of these tables that are no text tables. The other one is found as all text tables are."""


def name_of(table: Table) -> str | None:
    """Return the name of the layout; None if ``table`` is another one."""
    is_metadata = table.path.name in ("metadata.csv", *METADATA) and "file_name" in table.header
    return f"Hugging Face imagefolder with {table.path.name}" if is_metadata else None
