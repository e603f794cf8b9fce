"""Parquet files in Hugging Face's layout: one file, or a folder of shards ``test-00000-of-00002.parquet``."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from underfire.data.dataset import ImageData
from underfire.data.layouts.imagefolder import METADATA
from underfire.data.layouts.layout import Layout
from underfire.data.options import DataOptions
from underfire.data.parquet import ParquetData, holds_images
from underfire.data.places import files_in
from underfire.data.splits import named_split
from underfire.errors import DataError

_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(-[0-9a-f]{8,})?\.parquet", re.IGNORECASE)
"""The name of a shard. Files of 2022 and 2023 have a hash in it."""


def _open(path: Path, options: DataOptions) -> ImageData | None:
    columns = {"image_column": options.file_column, "label_column": options.label_column}
    if not path.is_dir():
        is_data = path.suffix.lower() == ".parquet"
        is_data = is_data and (path.name not in METADATA or holds_images(path, options.file_column))
        return ParquetData(path, **columns) if is_data else None
    folder = next((place for place in (path, path / "data") if place.is_dir() and _shards(place)), None)
    if folder is None:
        return None
    splits = _shards(folder)
    if options.split is None and len(splits) > 1:
        raise DataError(f"{folder} holds the splits {', '.join(splits)}: choose one with --split {list(splits)[-1]}.")
    name = next(iter(splits)) if options.split is None else named_split(options.split, splits, str(folder))
    files, total = splits[name]
    if len(files) != total:
        raise DataError(
            f"{folder} holds {len(files)} of the {total} shards of {name!r} ({', '.join(files)}); give the path of one "
            "to use it alone."
        )
    return ParquetData([folder / file for file in files], name=name, **columns)


def _shards(folder: Path) -> dict[str, tuple[list[str], int]]:
    """Return the files of each split, in order, and how many there should be."""
    found: dict[str, tuple[list[str], int]] = defaultdict(lambda: ([], 0))
    for name in files_in(folder):
        match = _SHARD.fullmatch(name)
        if match is not None:
            found[match[1]] = ([*found[match[1]][0], name], int(match[3]))
    return dict(found)


LAYOUT = Layout("parquet shards", _open, ("file_column", "label_column", "split", "white"))
