"""Hugging Face's ``imagefolder`` with a table: ``metadata.csv`` with a column ``file_name``, beside the images.

https://huggingface.co/docs/datasets/image_dataset.
"""

from __future__ import annotations

from underfire.data.tables import Table


def name_of(table: Table) -> str | None:
    """Return the name of the layout; None if ``table`` is another one."""
    is_metadata = table.path.name == "metadata.csv" and "file_name" in table.header
    return "Hugging Face imagefolder with metadata.csv" if is_metadata else None
