"""Reading folders of formats 2 and 3: every cell has shards of rows and tensors, which are opened when needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from underfire.attacks.limits import Flags, Numbers
from underfire.attacks.measure import Measure
from underfire.errors import StoreError
from underfire.runs.cells import Cell
from underfire.runs.columns import AFTER, BEFORE
from underfire.runs.folder import Folder, Row, Values, known_measures, numbers, open_tensors, read_table, tensor_names

if TYPE_CHECKING:
    import pyarrow as pa

WITHOUT_MANIFESTS = 2
"""The folder format without manifests: a shard's file of rows came last."""

OPEN = 4
"""Tensor files that are kept open at a time."""

KEPT = 256
"""The number of shards whose rows are kept: a gallery asks for each image's rows of every cell."""


class CellFolder(Folder):
    """A folder of format 2 or 3. Files are read when they are needed, and maps never all at once."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        super().__init__(path, record)
        made = [Cell.from_dict(values) for values in record["cells"]]
        self.cells = {cell.label: cell for cell in made}
        self._has_eps = all("eps" in values for values in record["cells"])
        self._open: OrderedDict[Path, Any] = OrderedDict()
        self._columns: dict[tuple[str, str], pa.Table] = {}
        self._read: dict[Path, pa.Table] = {}

    @property
    def images(self) -> dict[str, Any]:
        found: dict[str, Any] = self.record["images"]
        return found

    @property
    def shards(self) -> int:
        """The number of shards that each cell has when the run is finished."""
        if "shards" not in self.record:
            raise StoreError(f"the run in {self.path} is not finished: finish it with --resume.")
        return int(self.record["shards"])

    def file(self, cell: str, shard: int, suffix: str) -> Path:
        """Return the path of a file of a cell's shard."""
        return self.path / "cells" / self.cells[cell].key / f"{shard:06d}.{suffix}"

    def _complete(self, cell: str, shard: int) -> Path:
        """Return the path of the rows of a cell's shard. Raises StoreError if the shard is not complete."""
        path = self.file(cell, shard, "parquet")
        last = self.file(cell, shard, "json") if self.record["format"] > WITHOUT_MANIFESTS else path
        if not last.exists() and not self.record.get("finished"):
            raise StoreError(
                f"the run in {self.path} is not finished: part {shard + 1} of {self.shards} of {cell} is missing. "
                "Finish it with --resume."
            )
        return path

    def shard_rows(self, cell: str, shard: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Read the rows of one shard of a cell. ``eps`` is null if an earlier version wrote them."""
        import pyarrow as pa

        path = self._complete(cell, shard)
        if self._has_eps:
            return read_table(path, columns)
        stored = None if columns is None else [name for name in columns if name != "eps"]
        table = read_table(path, stored)
        table = table.append_column("eps", pa.nulls(len(table), pa.float64()))
        return table if columns is None else table.select(list(columns))

    def rows(self, columns: Sequence[str] | None, cell: str | None) -> pa.Table:
        import pyarrow as pa

        labels = list(self.cells) if cell is None else [cell]
        parts = [self.shard_rows(label, shard, columns) for label in labels for shard in range(self.shards)]
        return pa.concat_tables(parts)

    @cached_property
    def measures(self) -> list[Measure]:
        return known_measures(self.shard_rows("clean", 0).schema, [name for name, _ in (*BEFORE, *AFTER)])

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """The shard and the place in it of every attacked image, by id, in the data's order."""
        attack = next(label for label, cell in self.cells.items() if cell.kind == "attack")
        return self._places_in(attack)

    def _places_in(self, cell: str) -> dict[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for shard in range(self.shards):
            ids = dict.fromkeys(self.shard_rows(cell, shard, ["image_id"])["image_id"].to_pylist())
            found |= {image_id: (shard, place) for place, image_id in enumerate(ids)}
        return found

    @cached_property
    def _clean_places(self) -> dict[str, tuple[int, int]]:
        return self._places_in("clean")

    @property
    def image_ids(self) -> list[str]:
        return list(self._places)

    @cached_property
    def correct(self) -> Flags:
        attack = next(cell for cell in self.cells.values() if cell.kind == "attack")
        return np.asarray(self.column(attack.label, attack.read_by[0], "correct_before"), dtype=bool)

    def column(self, cell: str, interpreter: str, measure: str) -> Numbers | Flags:
        return numbers(self._table(cell, interpreter)[measure])

    def _table(self, cell: str, interpreter: str) -> pa.Table:
        """The numeric columns of one cell and interpreter, for attacked images in the data's order."""
        key = (cell, interpreter)
        if key not in self._columns:
            import pyarrow as pa
            import pyarrow.compute as pc

            wanted = ["image_id", "interpreter", "label", "correct_before", *(m.name for m in self.measures)]
            attacked = pa.array(self.image_ids)
            parts = []
            for shard in range(self.shards):
                table = self.shard_rows(cell, shard, wanted)
                chosen = pc.equal(table["interpreter"], interpreter)
                if self.cells[cell].kind == "clean":
                    chosen = pc.and_(chosen, pc.is_in(table["image_id"], attacked))
                parts.append(table.filter(chosen).drop_columns(["image_id", "interpreter"]))
            self._columns[key] = pa.concat_tables(parts)
        return self._columns[key]

    def more_noise(self, cell: str, interpreter: str) -> Numbers:
        parts = []
        for shard in range(self.shards):
            tensors, name = self._tensors(cell, shard), f"noise/{interpreter}"
            if name in tensor_names(tensors):
                parts.append(np.asarray(tensors.get_tensor(name), dtype=np.float64))
        return np.concatenate(parts) if parts else super().more_noise(cell, interpreter)

    def row(self, cell: str, interpreter: str, image_id: str) -> Row:
        shard, _ = self._place(cell, image_id)
        import pyarrow.compute as pc

        table = self._whole(cell, shard)
        chosen = pc.and_(pc.equal(table["image_id"], image_id), pc.equal(table["interpreter"], interpreter))
        found: list[Row] = table.filter(chosen).to_pylist()
        if not found:
            raise StoreError(f"the run in {self.path} has no row of {cell}, {interpreter} for image {image_id!r}.")
        return found[0]

    def _whole(self, cell: str, shard: int) -> pa.Table:
        """Read all rows of one shard of a cell, or take them from the last ``KEPT`` that were read."""
        path = self.file(cell, shard, "parquet")
        if path not in self._read:
            if len(self._read) >= KEPT:
                del self._read[next(iter(self._read))]
            self._read[path] = read_table(self._complete(cell, shard))
        return self._read[path]

    def _place(self, cell: str, image_id: str) -> tuple[int, int]:
        places = self._clean_places if self.cells[cell].kind == "clean" else self._places
        if image_id not in places:
            raise StoreError(f"the run in {self.path} has no image {image_id!r}.")
        return places[image_id]

    def _tensors(self, cell: str, shard: int) -> Any:
        path = self.file(cell, shard, "safetensors")
        if path not in self._open:
            self._open[path] = open_tensors(path)
            if len(self._open) > OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path]

    def _tensor(self, cell: str, name: str, image_id: str) -> Any:
        """Read one image's entry of a tensor; None if the shard has no such tensor."""
        shard, place = self._place(cell, image_id)
        tensors = self._tensors(cell, shard)
        return tensors.get_slice(name)[place] if name in tensor_names(tensors) else None

    def map(self, cell: str, interpreter: str, image_id: str) -> Values:
        found: Values | None = self._tensor(cell, f"maps/{interpreter}", image_id)
        if found is None:
            raise StoreError(f"the run in {self.path} has no map of {cell} by {interpreter}: its files do not fit.")
        return found

    def wanted(self, cell: str, interpreter: str, image_id: str) -> Values | None:
        found: Values | None = self._tensor(cell, f"wanted/{interpreter}", image_id)
        return found

    def predicted(self, cell: str, image_id: str) -> int | None:
        logits = self._tensor(cell, "logits", image_id)
        return None if logits is None else int(logits.argmax())

    def mask(self, image_id: str) -> npt.NDArray[np.bool_] | None:
        found = self._tensor("clean", "masks", image_id)
        return None if found is None else np.asarray(found) > 0

    @cached_property
    def has_masks(self) -> bool:
        return "masks" in tensor_names(self._tensors("clean", 0))

    def trace(self, cell: str) -> pa.Table | None:
        import pyarrow as pa

        files = [self.file(cell, shard, "trace") for shard in range(self.shards)]
        parts = [read_table(file) for file in files if file.exists()]
        return pa.concat_tables(parts) if parts else None
