"""The output folder of a run: the shards of its cells, and the files that are made from them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from underfire.data.saved import save_png
from underfire.errors import StoreError, UnderfireError
from underfire.runs.differences import differences
from underfire.runs.replacing import Former, foreign_files
from underfire.text import first_few

FORMAT = 2
"""The version of a run's folder. Version 1 had one file of maps and one table for the whole run."""


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


class Store:
    """A folder that holds one run. Making this object only checks the folder; ``begin`` changes its content.

    Args:
        folder: made if it does not exist.
        config: the run's configuration, as JSON values; a resumed run must have the same.
        resume: go on with what the folder holds.
        overwrite: replace what an earlier run left in the folder; see ``keep_new``. Other files are never removed.
        same: compares the configuration that the folder holds with ``config``, and returns the differences in words.

    Raises:
        StoreError: the folder holds something and neither was asked for, holds another run, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        resume: bool = False,
        overwrite: bool = False,
        same: Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]] | None = None,
    ) -> None:
        self.folder = folder
        self.config = dict(config)
        self.overwrite = overwrite
        self._same = same or differences
        self._former = Former(folder)
        if resume and overwrite:
            raise StoreError("--resume and --overwrite contradict each other; give one of them.")
        self._make()
        held = sorted(entry.name for entry in folder.iterdir() if entry.name != ".lock")
        if held and overwrite:
            self._check_ours()
        elif held and resume:
            self._check_resumable()
        elif held:
            raise StoreError(
                f"output folder {folder} is not empty ({first_few(held)}): give --resume to go on with the run in it, "
                "--overwrite to replace that run, or another folder."
            )

    @contextmanager
    def working(self) -> Iterator[None]:
        """Context that locks the folder against other processes.

        A run that turns out to be impossible before an attack is complete leaves nothing, so that the corrected command
        works without ``--overwrite``. A run that is interrupted keeps every shard that is complete. A run that ends
        before ``keep_new`` gives the folder back to the run that it was to replace.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(f"output folder {self.folder} is in use: another process runs in it.") from error
        before, nothing = self.read_run(), False
        try:
            yield
        except BaseException as error:  # also an interrupt from the keyboard; it is raised again
            if self._former.kept:
                self._former.put_back()
                raise
            nothing = not before and not self._holds("attack" if isinstance(error, UnderfireError) else None)
            if nothing:
                self._former.clear()
            raise
        finally:
            lock.release()
            (self.folder / ".lock").unlink(missing_ok=True)
            if nothing:
                self._unmake()

    def _holds(self, kind: str | None) -> bool:
        """Return True if a shard of any cell, or of one of this kind, is complete."""
        keys = {cell["key"] for cell in self.read_run().get("cells", ()) if kind in (None, cell["kind"])}
        return any(file.parent.name in keys for file in (self.folder / "cells").glob("*/*.parquet"))

    def begin(self, record: Mapping[str, Any]) -> None:
        """Make the folder ready for shards.

        Args:
            record: what the results depend on beside the configuration: hashes of the data and the classifier, the
                attacks in full, the cells. A resumed run must have the same.
        """
        with self._writing():
            if self.overwrite:
                self._former.set_aside()
            if not self.read_run():
                begun = {"format": FORMAT, "configuration": self.config, **record, "finished": False}
                self.write_json("run.json", begun)
            self.check_record(record)
            (self.folder / "cells").mkdir(exist_ok=True)

    def check_record(self, record: Mapping[str, Any], known_only: bool = False) -> None:
        """Raise StoreError if the run in the folder depends on something else than ``record`` says.

        With ``known_only``, entries that an earlier version did not write down are left out.
        """
        held = self.read_run()
        asked = {key: value for key, value in record.items() if key in held or not known_only}
        changed = differences({key: held.get(key) for key in asked}, json.loads(json.dumps(asked)))
        if changed:
            raise self._another(changed)

    def keep_new(self) -> None:
        """Remove the run that this one replaces: every cell has a complete shard, so that the new one works."""
        self._former.drop()

    @property
    def finished(self) -> bool:
        """True if the folder holds all of the run that was asked for."""
        return not self.overwrite and bool(self.read_run().get("finished"))

    def read_run(self) -> dict[str, Any]:
        """Read ``run.json``; empty if there is none, or another kind of file."""
        try:
            run = json.loads((self.folder / "run.json").read_text())
        except (OSError, ValueError):
            return {}
        return run if isinstance(run, dict) and isinstance(run.get("configuration"), dict) else {}

    def summary(self) -> dict[str, Any]:
        """Read ``summary.json``. Raises StoreError if a finished run has lost it."""
        try:
            summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        except (OSError, ValueError) as error:
            raise StoreError(
                f"output folder {self.folder} holds a finished run without its summary.json: 'underfire report "
                "--tables' makes it again, --overwrite runs everything again."
            ) from error
        return summary

    def update_run(self, **values: Any) -> None:
        """Change entries of ``run.json``."""
        self.write_json("run.json", self.read_run() | values)

    def shard_size(self, default: int) -> int:
        """Return the number of attacked images per shard: the one that the run began with, or ``default``."""
        if "shard_size" not in self.read_run():
            self.update_run(shard_size=default)
        return int(self.read_run()["shard_size"])

    def has_shard(self, key: str, index: int) -> bool:
        """Return True if a shard of a cell is complete."""
        return self.shard_file(key, index, "parquet").exists()

    def shard_file(self, key: str, index: int, suffix: str) -> Path:
        """Return the path of a file of shard ``index`` of the cell ``key``.

        Args:
            suffix: ``parquet``, ``trace`` or ``safetensors``.
        """
        return self.folder / "cells" / key / f"{index:06d}.{suffix}"

    def write_shard(self, key: str, index: int, shard: Shard) -> None:
        """Write a shard. Its parquet file comes last, and shows that the shard is complete."""
        from safetensors.torch import save_file

        with self._writing():
            (self.folder / "cells" / key).mkdir(parents=True, exist_ok=True)
        tensors = {name: value.contiguous() for name, value in shard.tensors.items()}
        self._replace(self.shard_file(key, index, "safetensors"), lambda part: save_file(tensors, part))
        if len(shard.trace):
            self._replace(self.shard_file(key, index, "trace"), lambda part: pq.write_table(shard.trace, part))
        self._replace(self.shard_file(key, index, "parquet"), lambda part: pq.write_table(shard.rows, part))

    def write_tables(self, name: str, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Write tables of one schema to one parquet file, one after the other."""

        def write(part: Path) -> None:
            with pq.ParquetWriter(part, schema) as writer:
                for table in tables:
                    writer.write_table(table)

        self._replace(self.folder / name, write)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the run."""
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        self._replace(self.folder / name, lambda part: part.write_text(text))

    def save_image(self, label: str, position: int, image_id: str, image: Tensor) -> str:
        """Write an 8-bit image C x H x W in [0, 1] with ``save_png``. Returns its path in the folder."""
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id).strip("._")[-80:]
        name = f"images/{folder_name(label)}/{position:06d}-{safe}.png"
        path = self.folder / name
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            save_png(path, (image * 255).round().to(torch.uint8))
        return name

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"output folder {self.folder} cannot be written: {error.strerror or error}.") from error

    def _replace(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write a file beside ``path``, then rename it to ``path``, so that nobody sees a half-written file."""
        part = path.with_name(f"{path.name}.part")
        with self._writing():
            write(part)
            part.replace(path)

    def _make(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"output folder {self.folder} is a file; give a folder.")
        self._new = [place for place in (self.folder, *self.folder.parents) if not place.exists()]
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".writable"
            probe.touch()
            probe.unlink()

    def _unmake(self) -> None:
        """Remove the folders made for this run, if they are empty."""
        with suppress(OSError):
            for place in self._new:
                place.rmdir()

    def _check_ours(self) -> None:
        foreign = foreign_files(self.folder)
        if foreign or not (self.read_run() or self._former.kept):
            held = first_few(foreign) or "no run.json of a run"
            raise StoreError(
                f"output folder {self.folder} holds {held}, which no run wrote: --overwrite replaces "
                "only an earlier run. Choose another folder."
            )

    def _check_resumable(self) -> None:
        held = self.read_run()
        if not held:
            raise StoreError(f"output folder {self.folder} holds no run that could be resumed.")
        changed = self._same(held["configuration"], self.config)
        if changed:
            raise self._another(changed)
        if held.get("format", 1) != FORMAT and not held.get("finished"):
            raise StoreError(
                f"output folder {self.folder} holds an unfinished run of another version of underfire (folder format "
                f"{held.get('format', 1)}, expected {FORMAT}): finish it with that version, or give --overwrite to "
                "begin again."
            )

    def _another(self, changed: Sequence[str]) -> StoreError:
        said = first_few(changed, 5, "; ")
        return StoreError(f"output folder {self.folder} holds another run: {said}. Nothing was changed.")


def folder_name(label: str) -> str:
    """Turn a cell's label into the name of the folder of its images; different labels get different names."""
    safe = re.sub(r"[^\w+-]+", "_", label, flags=re.ASCII)[:100]
    return safe if safe == label else f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"
