"""The output folder of a run: shards while it goes on, four files and the images when it is done."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from underfire.errors import StoreError

_TEXT, _NUMBER, _COUNT, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
SCHEMA = pa.schema(
    [
        *((name, _TEXT) for name in ("image_id", "path", "image_file")),
        *((name, _COUNT) for name in ("label", "target")),
        *((name, _TEXT) for name in ("classifier", "attack", "perturbation", "shaping")),
        *((name, _TEXT) for name in ("attacked_interpreters", "interpreter")),
        *((name, _FLAG) for name in ("correct_before", "success", "untargeted_success", "joint_success")),
        *((name, _NUMBER) for name in ("confidence", "map_l1", "map_l2", "map_iou", "map_ssim", "map_spearman")),
        *((name, _NUMBER) for name in ("map_l1_target", "ssim", "linf", "l2")),
        *((name, _COUNT) for name in ("steps", "forwards", "backwards")),
        ("seconds", _NUMBER),
        ("seed", _COUNT),
    ]
)
_OURS = {"run.json", "summary.json", "results.parquet", "maps.safetensors", "images", "shards"}


class Store:
    """A folder that holds one run.

    Args:
        folder: made where it does not exist.
        config: the run's configuration, as JSON values; a resumed run must have the same.
        resume: go on with what the folder holds.
        overwrite: remove what an earlier run left in the folder. Files of others are never removed.

    Raises:
        StoreError: where the folder holds something and neither was asked for, holds another run, or cannot be written.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], resume: bool = False, overwrite: bool = False) -> None:
        self.folder = folder
        if resume and overwrite:
            raise StoreError("--resume and --overwrite contradict each other; give one of them.")
        self._make()
        held = {entry.name for entry in folder.iterdir()}
        if held and overwrite:
            self._clear(held)
        elif held and resume:
            self._check_same(config)
        elif held:
            raise StoreError(
                f"output folder {folder} is not empty ({', '.join(sorted(held)[:3])}, ...): give --resume to go on "
                "with the run in it, --overwrite to replace that run, or another folder."
            )
        (folder / "shards").mkdir(exist_ok=True)
        if not (folder / "run.json").exists():
            self.write_json("run.json", {"configuration": dict(config), "finished": False})

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StoreError(f"output folder {self.folder} cannot be written: {error.strerror or error}.") from error

    def _clear(self, held: set[str]) -> None:
        foreign = sorted(held - _OURS)
        if "run.json" not in held or foreign:
            raise StoreError(
                f"output folder {self.folder} holds {foreign or 'no run'}, which no run wrote: --overwrite replaces "
                "only an earlier run. Choose another folder."
            )
        for name in held:
            entry = self.folder / name
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _check_same(self, config: Mapping[str, Any]) -> None:
        try:
            then = json.loads((self.folder / "run.json").read_text())["configuration"]
        except (OSError, ValueError, KeyError) as error:
            raise StoreError(f"output folder {self.folder} holds no run that could be resumed.") from error
        now = json.loads(json.dumps(dict(config)))
        changed = [f"{key} was {then.get(key)!r}, is {now.get(key)!r}" for key in now | then if then.get(key) != now.get(key)]
        if changed:
            raise StoreError(f"output folder {self.folder} holds another run: {'; '.join(changed)}. Nothing was changed.")

    @property
    def finished(self) -> bool:
        return bool(json.loads((self.folder / "run.json").read_text()).get("finished"))

    def shard_size(self, default: int) -> int:
        """Attacked images per shard: what the run began with, ``default`` for a new one."""
        run = json.loads((self.folder / "run.json").read_text())
        if "shard_size" not in run:
            self.write_json("run.json", {**run, "shard_size": default})
        return int(run.get("shard_size", default))

    def has_shard(self, index: int) -> bool:
        return self._shard(index, "parquet").exists()

    def _shard(self, index: int, suffix: str) -> Path:
        return self.folder / "shards" / f"{index:06d}.{suffix}"

    def write_shard(self, index: int, rows: list[dict[str, Any]], maps: dict[str, Tensor]) -> None:
        """Write a shard; its parquet file comes last, and says that it is complete."""
        self._write_maps(self._shard(index, "safetensors"), maps)
        self._write_rows(self._shard(index, "parquet"), pa.Table.from_pylist(rows, schema=SCHEMA))

    def read_shards(self, count: int) -> tuple[pa.Table, dict[str, Tensor]]:
        """All rows and maps of shards 0..count-1."""
        from safetensors.torch import load_file

        maps: dict[str, Tensor] = {}
        for index in range(count):
            maps |= load_file(self._shard(index, "safetensors"))
        tables = [pq.read_table(self._shard(index, "parquet"), schema=SCHEMA) for index in range(count)]
        return pa.concat_tables(tables), maps

    def finish(self, table: pa.Table, maps: dict[str, Tensor], summary: Any, run: Mapping[str, Any]) -> None:
        """Write the run's four files, and remove the shards."""
        self._write_rows(self.folder / "results.parquet", table)
        self._write_maps(self.folder / "maps.safetensors", maps)
        self.write_json("summary.json", summary)
        self.write_json("run.json", {**run, "finished": True})
        shutil.rmtree(self.folder / "shards")

    def write_json(self, name: str, value: Any) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(json.dumps(value, indent=2) + "\n")
        part.replace(self.folder / name)

    def save_image(self, attack: str, position: int, image_id: str, image: Tensor) -> str:
        """Write an 8-bit image C x H x W in [0, 1] as a lossless PNG. Returns its path in the folder."""
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id).strip("._")[-80:]
        name = f"images/{attack}/{position:06d}-{safe}.png"
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = (image * 255).round().to(torch.uint8)
        pixels = levels[0] if len(levels) == 1 else levels.permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(path, compress_level=3)
        return name

    @staticmethod
    def _write_rows(path: Path, table: pa.Table) -> None:
        part = path.with_suffix(".part")
        pq.write_table(table, part)
        part.replace(path)

    @staticmethod
    def _write_maps(path: Path, maps: dict[str, Tensor]) -> None:
        from safetensors.torch import save_file

        part = path.with_suffix(".maps-part")
        save_file({name: value.contiguous() for name, value in maps.items()}, part)
        part.replace(path)
