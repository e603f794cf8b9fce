"""The files of one shard of a cell: rows and course as Parquet, tensors as safetensors, and the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from underfire.errors import StoreError
from underfire.runs import manifest
from underfire.runs.disk import replace


@dataclass(frozen=True)
class Shard:
    """A part of a cell's images, as it is written.

    Args:
        rows: one row per image and interpreter.
        trace: the course of an attack.
        tensors: ``maps/INTERPRETER`` N x h x w and ``logits`` N x K; if there are any, also ``wanted/INTERPRETER``
            N x h x w, ``masks`` N x H x W and ``noise/INTERPRETER`` N x draws. Images are in the order of ``rows``.
    """

    rows: pa.Table
    trace: pa.Table
    tensors: dict[str, Tensor]


def path_of(folder: Path, key: str, index: int, suffix: str) -> Path:
    """Return the path of a file of shard ``index`` of the cell ``key``; see ``Store.shard_file``."""
    return folder / "cells" / key / f"{index:06d}.{suffix}"


def write(folder: Path, key: str, index: int, shard: Shard) -> None:
    """Write a shard whose images are saved already; the manifest comes last.

    Raises:
        OSError, SafetensorError: the disk is full, or a file cannot be written. The shard is not complete, then.
    """
    from safetensors.torch import save_file

    tensors = {name: value.contiguous() for name, value in shard.tensors.items()}
    writers: dict[str, Callable[[Path], object]] = {
        "safetensors": lambda part: save_file(tensors, part),
        "trace": lambda part: pq.write_table(shard.trace, part, write_page_checksum=True),
        "parquet": lambda part: pq.write_table(shard.rows, part, write_page_checksum=True),
    }
    if not len(shard.trace):
        del writers["trace"]
    path_of(folder, key, index, manifest.SUFFIX).unlink(missing_ok=True)
    (folder / "cells" / key).mkdir(parents=True, exist_ok=True)
    files = list(dict.fromkeys(shard.rows["image_file"].to_pylist()))
    for suffix, write_to in writers.items():
        path = path_of(folder, key, index, suffix)
        replace(path, write_to, synced=False)
        files.append(path.relative_to(folder).as_posix())
    manifest.write(folder, key, index, files, sorted(set(shard.rows["position"].to_pylist())))


def read_tensors(folder: Path, key: str, index: int) -> dict[str, Tensor]:
    """Read the tensors of a shard. Raises StoreError if their file is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = path_of(folder, key, index, "safetensors")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be read: {error}. --resume makes it again.") from error
    return tensors
