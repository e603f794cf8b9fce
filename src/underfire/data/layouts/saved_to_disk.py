"""Folders that ``datasets.save_to_disk`` of Hugging Face makes: Arrow files, ``state.json``, ``dataset_dict.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from underfire.data.arrays import chosen_split
from underfire.data.dataset import ImageData
from underfire.data.encoded import IMAGE_COLUMNS, LABEL_COLUMNS, EncodedData, find_column
from underfire.data.layouts.layout import Layout
from underfire.data.options import DataOptions
from underfire.errors import DataError


def _open(path: Path, options: DataOptions) -> ImageData | None:
    if (path / "dataset_dict.json").is_file():
        splits = _json(path / "dataset_dict.json").get("splits", [])
        if not splits:
            raise DataError(f"{path / 'dataset_dict.json'} names no splits.")
        split = chosen_split(options.split, splits, path)
        return _one(path / split, f"{path.resolve().name}-{split}", f", split {split}", options)
    if not (path / "state.json").is_file() or not (path / "dataset_info.json").is_file():
        return None
    return _one(path, path.resolve().name, "", options)


def _one(path: Path, name: str, which: str, options: DataOptions) -> ImageData:
    import pyarrow as pa

    state = _json(path / "state.json")
    files = [path / str(entry["filename"]) for entry in state.get("_data_files", [])]
    if not files or state.get("_indices_files"):
        raise DataError(f"{path} has no data files, or an index beside them; save it again with save_to_disk.")
    parts = []
    for file in files:
        try:
            with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
                parts.append(reader.read_all())
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file} cannot be read as an Arrow file: {error}") from error
    table = pa.concat_tables(parts)
    present = table.schema.names
    images = find_column(path, present, IMAGE_COLUMNS, "image", options.file_column)
    labels = find_column(path, present, LABEL_COLUMNS, "label", options.label_column)
    data = EncodedData(name, path, files, table, images, labels)
    data.layout = f"a folder of datasets.save_to_disk{which}"
    return data


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return content if isinstance(content, dict) else {}


LAYOUT = Layout("a folder of datasets.save_to_disk", _open, ("file_column", "label_column", "split", "white"))
