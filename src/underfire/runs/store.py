"""The output folder of a run: the shards of its cells, and the files that are made from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from underfire.data.saved import save_png
from underfire.errors import StoreError, UnderfireError, warn
from underfire.runs import manifest, places, shard_files
from underfire.runs.differences import another_run, differences
from underfire.runs.disk import is_part, replace, writing
from underfire.runs.locking import LOCK, locked
from underfire.runs.record import Begun, check_entries
from underfire.runs.replacing import Former, foreign_files
from underfire.runs.selection import Selection, read_selection
from underfire.runs.shard_files import Shard
from underfire.text import first_few

FORMAT = 3
"""The version of a run's folder.

Version 1 had one file of maps and one table for the whole run. Version 2 had no manifests: a shard was
complete if its file of rows was there.
"""

BEGUN = {LOCK, ".writable"}
"""Files that a run which was killed in its first moments leaves in a folder that holds nothing otherwise, beside a
half-written run.json."""


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
        self._new = places.make(folder)
        names = [entry.name for entry in folder.iterdir() if entry.name not in BEGUN]
        held = sorted(name for name in names if not is_part(name, "run.json"))
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
        nothing = False
        try:
            with locked(self.folder, "runs"):
                before = self.read_run()
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
            if nothing:
                places.unmake(self._new)

    def _holds(self, kind: str | None) -> bool:
        """Return True if a shard of any cell, or of one of this kind, is complete."""
        keys = {cell["key"] for cell in self.read_run().get("cells", ()) if kind in (None, cell["kind"])}
        return any(file.parent.name in keys for file in (self.folder / "cells").glob(f"*/*.{manifest.SUFFIX}"))

    def begin(self, record: Mapping[str, Any]) -> None:
        """Make the folder ready for shards.

        Args:
            record: what the results depend on beside the configuration: hashes of the data and the classifier, the
                attacks in full, the cells. A resumed run must have the same.
        """
        with writing(self.folder):
            if self.overwrite:
                self._former.set_aside()
            if not self.read_run():
                begun = {"format": FORMAT, "configuration": self.config, **record, "finished": False}
                self.write_json("run.json", begun)
            self.check_record(record)
            held = bool(self.read_run().get("shards"))
            if held and not (self.folder / "cells").exists():
                warn(f"output folder {self.folder} was damaged: cells/ is missing. All parts are done again.")
            (self.folder / "cells").mkdir(exist_ok=True)

    def check_record(self, record: Mapping[str, Any], known_only: bool = False) -> None:
        """Raise StoreError if the run in the folder depends on something else than ``record`` says.

        With ``known_only``, entries that an earlier version did not write down are left out.
        """
        held = self.read_run()
        asked = {key: value for key, value in record.items() if key in held or not known_only}
        changed = differences({key: held.get(key) for key in asked}, json.loads(json.dumps(asked)))
        if changed:
            raise another_run(self.folder, changed)

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

    def read_selection(self) -> Selection | None:
        """Read which images the run looks at and attacks; None if it has not begun, or the file is not the run's."""
        return read_selection(self.folder, self.read_run())

    @property
    def lacks_selection(self) -> bool:
        """True if ``selection.json`` of a run that selected images is missing, or is not as it was written."""
        return "selection_sha256" in self.read_run() and self.read_selection() is None

    def write_selection(self, selection: Selection) -> None:
        """Write ``selection.json``, so that a resumed run, and every worker, need not classify all images again.

        If the run has lost it since its shards were counted, a warning says so.
        """
        if self.read_selection() is None:
            if self.read_run().get("shards"):
                damaged = "selection.json is missing or changed. It is made again."
                warn(f"output folder {self.folder} was damaged: {damaged}")
            values = json.loads(json.dumps(selection.to_dict()))
            self.write_json("selection.json", {"selection": values, "sha256": manifest.digest_of(values)})

    def update_run(self, **values: Any) -> None:
        """Change entries of ``run.json``."""
        self.write_json("run.json", self.read_run() | values)

    def shard_size(self, default: int) -> int:
        """Return the number of attacked images per shard: the one that the run began with, or ``default``."""
        if "shard_size" not in self.read_run():
            self.update_run(shard_size=default)
        return int(self.read_run()["shard_size"])

    def has_shard(self, key: str, index: int) -> bool:
        """Return True if a shard of a cell is complete: its manifest is there. See ``repair.drop_damaged``."""
        return manifest.manifest_file(self.folder, key, index).exists()

    def shard_file(self, key: str, index: int, suffix: str) -> Path:
        """Return the path of a file of shard ``index`` of the cell ``key``.

        Args:
            suffix: ``parquet``, ``trace``, ``safetensors``, or ``json`` for the manifest.
        """
        return shard_files.path_of(self.folder, key, index, suffix)

    def shard_files(self, key: str, index: int) -> list[Path]:
        """List the files of a complete shard by its manifest, saved images included; the manifest is not among them.

        Raises:
            StoreError: the manifest is missing or broken.
        """
        try:
            entries = manifest.read(self.folder, key, index)["files"]
        except StoreError as error:
            raise StoreError(f"output folder {self.folder} has no such part: {error}.") from error
        return [self.folder / entry["file"] for entry in entries]

    def read_tensors(self, key: str, index: int) -> dict[str, Tensor]:
        """Read the tensors of a complete shard. Raises StoreError if their file is missing or broken."""
        return shard_files.read_tensors(self.folder, key, index)

    def write_shard(self, key: str, index: int, shard: Shard) -> None:
        """Write a shard whose images are saved already. Its manifest comes last, and shows that it is complete."""
        with writing(self.folder):
            shard_files.write(self.folder, key, index, shard)

    def write_tables(self, name: str, tables: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Write tables of one schema to one parquet file, one after the other."""

        def write(part: Path) -> None:
            with pq.ParquetWriter(part, schema, write_page_checksum=True) as writer:
                for table in tables:
                    writer.write_table(table)

        with writing(self.folder):
            replace(self.folder / name, write)

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file of the run."""
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        with writing(self.folder):
            replace(self.folder / name, lambda part: part.write_text(text))

    def save_image(self, label: str, position: int, image_id: str, image: Tensor) -> str:
        """Write an 8-bit image C x H x W in [0, 1] with ``save_png``. Returns its path in the folder.

        It is safely on the disk only after ``write_shard``.
        """
        name = places.image_file(label, position, image_id)
        path = self.folder / name
        with writing(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            levels = (image * 255).round().to(torch.uint8)
            replace(path, lambda part: save_png(part, levels), synced=False)
        return name

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
            broken = (self.folder / "run.json").exists()
            damaged = " Its run.json is damaged: bring it back, or choose another folder." if broken else ""
            raise StoreError(f"output folder {self.folder} holds no run that could be resumed.{damaged}")
        again = "Bring it back, or choose another folder."
        check_entries(self.folder / "run.json", held, Begun, again)
        changed = self._same(held["configuration"], self.config)
        if changed:
            raise another_run(self.folder, changed)
        if held.get("format", 1) != FORMAT and not held.get("finished"):
            raise StoreError(
                f"output folder {self.folder} holds an unfinished run of another version of underfire (folder format "
                f"{held.get('format', 1)}, expected {FORMAT}): finish it with that version, or give --overwrite to "
                "begin again."
            )
