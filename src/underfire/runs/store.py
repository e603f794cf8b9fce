"""The output folder of a run: shards while it goes on, four files and the images when it is done."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from underfire.errors import StoreError
from underfire.runs.schema import RESULTS, TRACE

_OURS = re.compile(
    r"(run\.json|summary\.json|results\.parquet|trace\.parquet|ma(p|sk)s\.safetensors)(\.part)?|\.writable|\.lock"
    r"|(page\.html|figure\.png)(\.part)?"
    r"|images(/[\w+-]+(/\d{6,}-[\w.-]*\.png)?)?"
    r"|shards(/\d{6,}\.(parquet|trace|safetensors)(\.part)?)?",
    re.ASCII,
)

WANTED = "wanted"
"""In the place of an attack's name, the map that an attack toward another than the benign one had to reach."""


@dataclass
class Findings:
    """What a shard found: rows of results and of the trace, and maps by ``attack/interpreter/image_id``."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)
    maps: dict[str, Tensor] = field(default_factory=dict)


class Store:
    """A folder that holds one run. Making one only checks the folder; ``begin`` changes what it holds.

    Args:
        folder: made where it does not exist.
        config: the run's configuration, as JSON values; a resumed run must have the same.
        defaults: of configurations, as JSON values: what a run had that knew of fewer settings.
        idle: settings that mean nothing for this run, whatever an earlier version wrote down of them.
        resume: go on with what the folder holds.
        overwrite: remove what an earlier run left in the folder. Files of others are never removed.

    Raises:
        StoreError: where the folder holds something and neither was asked for, holds another run, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        resume: bool = False,
        overwrite: bool = False,
        defaults: Mapping[str, Any] | None = None,
        idle: Collection[str] = (),
    ) -> None:
        self.folder = folder
        self.idle = frozenset(idle)
        self.defaults = dict(defaults or {})
        self.config = dict(config)
        self.overwrite = overwrite
        if resume and overwrite:
            raise StoreError("--resume and --overwrite contradict each other; give one of them.")
        self._make()
        held = sorted(entry.name for entry in folder.iterdir() if entry.name != ".lock")
        if held and overwrite:
            self._check_ours()
        elif held and resume:
            self._check_same({"configuration": self.config})
        elif held:
            raise StoreError(
                f"output folder {folder} is not empty ({_some(held)}): give --resume to go on with the run in it, "
                "--overwrite to replace that run, or another folder."
            )

    @contextmanager
    def working(self) -> Iterator[None]:
        """No other process works in the folder meanwhile; a run that fails before its first shard leaves nothing."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(f"output folder {self.folder} is in use: another process runs in it.") from error
        before, nothing = self._run(), False
        try:
            yield
        except BaseException:
            nothing = not before and not any((self.folder / "shards").glob("*.parquet"))
            if nothing:
                self._clear()
            raise
        finally:
            lock.release()
            (self.folder / ".lock").unlink(missing_ok=True)
            if nothing:
                self._unmake()

    def begin(self, inputs: Mapping[str, Any] | None = None) -> None:
        """Make the folder ready for shards.

        Args:
            inputs: hashes of what the run reads, and the attacks in full, by name; a resumed run must have the same.
        """
        inputs = dict(inputs or {})
        with self._writing():
            if self.overwrite:
                self._clear()
            if not (self.folder / "run.json").exists():
                self.write_json("run.json", {"configuration": self.config, **inputs, "finished": False})
            self._check_same(inputs)
            (self.folder / "shards").mkdir(exist_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"output folder {self.folder} cannot be written: {error.strerror or error}.") from error

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
        """Remove the folders that were made for this run, where nothing is in them."""
        with suppress(OSError):
            for place in self._new:
                place.rmdir()

    def _check_ours(self) -> None:
        inside = sorted(self.folder.rglob("*"))
        names = [entry.relative_to(self.folder).as_posix() for entry in inside]
        foreign = [n for n, entry in zip(names, inside, strict=True) if entry.is_symlink() or not _OURS.fullmatch(n)]
        if foreign or "configuration" not in self._run():
            raise StoreError(
                f"output folder {self.folder} holds {_some(foreign) or 'no run.json of a run'}, which no run wrote: "
                "--overwrite replaces only an earlier run. Choose another folder."
            )

    def _clear(self) -> None:
        # run.json goes last: without it, nothing tells any more that the rest belongs to a run.
        for entry in sorted(self.folder.iterdir(), key=lambda entry: entry.name == "run.json"):
            if entry.name == ".lock":
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _run(self) -> dict[str, Any]:
        """What ``run.json`` holds; nothing where there is none, or another kind of file."""
        try:
            run = json.loads((self.folder / "run.json").read_text())
        except (OSError, ValueError):
            return {}
        return run if isinstance(run, dict) and isinstance(run.get("configuration"), dict) else {}

    def _check_same(self, values: Mapping[str, Any]) -> None:
        run = self._run()
        if not run:
            raise StoreError(f"output folder {self.folder} holds no run that could be resumed.")
        changed = []
        for key, now in json.loads(json.dumps(values)).items():
            pairs = [(key, run.get(key), now)]
            if isinstance(now, dict):
                settings = key == "configuration"
                held = (self.defaults if settings else {}) | (run.get(key) or {})
                told = [part for part in now | held if not (settings and part in self.idle)]
                pairs = [(part, held.get(part), now.get(part)) for part in told]
            changed += [f"{name} was {old!r}, is {new!r}" for name, old, new in pairs if old != new]
        if changed:
            raise StoreError(
                f"output folder {self.folder} holds another run: {'; '.join(changed)}. Nothing was changed."
            )

    @property
    def finished(self) -> bool:
        """Whether the folder holds all of the run that was asked for."""
        return not self.overwrite and bool(self._run().get("finished"))

    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds. Raises StoreError where a finished run has lost it."""
        try:
            summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        except (OSError, ValueError) as error:
            raise StoreError(
                f"output folder {self.folder} holds a finished run without its summary.json: give --overwrite to run "
                "it again."
            ) from error
        return summary

    def shard_size(self, default: int) -> int:
        """Attacked images per shard: what the run began with, ``default`` for a new one."""
        run = self._run()
        if "shard_size" not in run:
            self.write_json("run.json", {**run, "shard_size": default})
        return int(run.get("shard_size", default))

    def has_shard(self, index: int) -> bool:
        return self._shard(index, "parquet").exists()

    def _shard(self, index: int, suffix: str) -> Path:
        return self.folder / "shards" / f"{index:06d}.{suffix}"

    def write_shard(self, index: int, findings: Findings) -> None:
        """Write a shard; its parquet file comes last, and says that it is complete."""
        self._write_maps(self._shard(index, "safetensors"), findings.maps)
        self._write_rows(self._shard(index, "trace"), pa.Table.from_pylist(findings.trace, schema=TRACE))
        self._write_rows(self._shard(index, "parquet"), pa.Table.from_pylist(findings.rows, schema=RESULTS))

    def read_shards(self, count: int) -> tuple[pa.Table, pa.Table, dict[str, Tensor]]:
        """All rows, the trace and the maps of shards 0..count-1."""
        from safetensors.torch import load_file

        maps: dict[str, Tensor] = {}
        for index in range(count):
            maps |= load_file(self._shard(index, "safetensors"))
        results = [pq.read_table(self._shard(index, "parquet"), schema=RESULTS) for index in range(count)]
        traces = [pq.read_table(self._shard(index, "trace"), schema=TRACE) for index in range(count)]
        return pa.concat_tables(results), pa.concat_tables(traces), maps

    def finish(
        self,
        results: pa.Table,
        trace: pa.Table,
        maps: dict[str, Tensor],
        masks: dict[str, Tensor],
        summary: Any,
        run: Mapping[str, Any],
    ) -> None:
        """Write the run's files, and remove the shards. ``masks``: the objects' true ones by image id, where known."""
        self._write_rows(self.folder / "results.parquet", results)
        self._write_rows(self.folder / "trace.parquet", trace)
        self._write_maps(self.folder / "maps.safetensors", maps)
        if masks:
            self._write_maps(self.folder / "masks.safetensors", masks)
        self.write_json("summary.json", summary)
        self.write_json("run.json", {**run, "finished": True})
        with self._writing():
            shutil.rmtree(self.folder / "shards")

    def write_json(self, name: str, value: Any) -> None:
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        self._replace(self.folder / name, lambda part: part.write_text(text))

    def save_image(self, attack: str, position: int, image_id: str, image: Tensor) -> str:
        """Write an 8-bit image C x H x W in [0, 1] as a lossless PNG. Returns its path in the folder."""
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id).strip("._")[-80:]
        name = f"images/{attack}/{position:06d}-{safe}.png"
        path = self.folder / name
        levels = (image * 255).round().to(torch.uint8)
        pixels = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.numpy()).save(path, compress_level=3)
        return name

    def _write_rows(self, path: Path, table: pa.Table) -> None:
        self._replace(path, lambda part: pq.write_table(table, part))

    def _write_maps(self, path: Path, maps: dict[str, Tensor]) -> None:
        from safetensors.torch import save_file

        self._replace(path, lambda part: save_file({name: value.contiguous() for name, value in maps.items()}, part))

    def _replace(self, path: Path, write: Callable[[Path], object]) -> None:
        """Write beside ``path`` and move into its place, so that it is never there in part."""
        part = path.with_name(f"{path.name}.part")
        with self._writing():
            write(part)
            part.replace(path)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
