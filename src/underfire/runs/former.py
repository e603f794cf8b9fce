"""Reading folders of format 1, which earlier versions wrote: one table and one file of maps for the whole run."""

from __future__ import annotations

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
from underfire.runs.comparison import SETTLED
from underfire.runs.folder import (
    Folder,
    Row,
    Values,
    known_measures,
    numbers,
    open_tensors,
    read_json,
    read_table,
    tensor_names,
)
from underfire.runs.record import REPAIR, FormerSummary

if TYPE_CHECKING:
    import pyarrow as pa

CONTROLS = ("clean", "reseeded", "noise")


class FormerFolder(Folder):
    """A folder of format 1. Joint success is settled anew from its rows, as for every run."""

    lacks = (
        "keys of cells, and the logits of judged images",
        "the course by interpreter: the trace holds the mean over the attacked ones",
    )

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        super().__init__(path, record)
        self._summary = read_json(path / "summary.json", FormerSummary, REPAIR)
        self._asked = str(self._summary["attack"])
        names = self._table["attack"].unique().to_pylist()
        self.cells = {name: self._cell(name) for name in names}

    @cached_property
    def _table(self) -> pa.Table:
        """The rows. Columns that only later versions write are null; ``cell`` is the attack's name."""
        import pyarrow as pa

        table = read_table(self.path / "results.parquet")
        if "cell" not in table.column_names:
            table = table.append_column("cell", table["attack"])
        for name, kind in (*BEFORE, *AFTER):
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table), kind))
        return table

    def _cell(self, name: str) -> Cell:
        import pyarrow.compute as pc

        rows = self._table.filter(pc.equal(self._table["attack"], name))
        readers = [*self._summary.get("readers", ())]
        read = rows["interpreter"].unique().to_pylist()
        about = tuple(other for other in read if other not in readers)
        controls: dict[str, Any] = {key: key for key in CONTROLS} | {self._asked: "attack"}
        kind = controls.get(name, "control")
        attacked = rows["attacked_interpreters"][0].as_py() or ""
        return Cell(
            key="",
            label=name,
            kind=kind,
            attack=name,
            read_by=(*about, *readers),
            attacked=tuple(attacked.split("+")) if attacked else (),
            about=about if kind in ("attack", "control") else (),
            beside=self._asked if name == "noise" else None,
            perturbation=rows["perturbation"][0].as_py() or "",
            shaping=rows["shaping"][0].as_py() or "",
            keeps_benign=self.configuration.get("target_map", "benign") == "benign",
            joint=bool(attacked),
            noise_size=self._noise_size if name == "noise" else None,
        )

    @property
    def _noise_size(self) -> float | None:
        held = self.configuration
        chosen = held.get("noise_eps")
        without_ball = {held.get("attack"), held.get("perturbation")} & {"cw", "stadv"}
        eps = held.get("eps")
        value: float | None = chosen if chosen is not None else None if without_ball else eps
        return value[0] if isinstance(value, list) else value

    @property
    def images(self) -> dict[str, Any]:
        found: dict[str, Any] = self._summary["images"]
        return found

    @cached_property
    def measures(self) -> list[Measure]:
        skip = [name for name, _ in (*BEFORE, *AFTER)] + list(SETTLED)
        return known_measures(self._table.schema, skip)

    def rows(self, columns: Sequence[str] | None, cell: str | None) -> pa.Table:
        import pyarrow.compute as pc

        table = self._table if cell is None else self._table.filter(pc.equal(self._table["attack"], cell))
        return table if columns is None else table.select(list(columns))

    @cached_property
    def image_ids(self) -> list[str]:
        return list(dict.fromkeys(self.rows(["image_id"], self._asked)["image_id"].to_pylist()))

    @cached_property
    def correct(self) -> Flags:
        name = self.cells[self._asked].read_by[0]
        return np.asarray(self.column(self._asked, name, "correct_before"), dtype=bool)

    def column(self, cell: str, interpreter: str, measure: str) -> Numbers | Flags:
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = self.rows(None, cell)
        chosen = pc.equal(rows["interpreter"], interpreter)
        rows = rows.filter(pc.and_(chosen, pc.is_in(rows["image_id"], pa.array(self.image_ids))))
        return numbers(rows[measure])

    def row(self, cell: str, interpreter: str, image_id: str) -> Row:
        import pyarrow.compute as pc

        rows = self.rows(None, cell)
        chosen = pc.and_(pc.equal(rows["interpreter"], interpreter), pc.equal(rows["image_id"], image_id))
        found: list[Row] = rows.filter(chosen).to_pylist()
        if not found:
            raise StoreError(f"the run in {self.path} has no row of {cell}, {interpreter} for image {image_id!r}.")
        return found[0]

    @cached_property
    def _maps(self) -> Any:
        return open_tensors(self.path / "maps.safetensors")

    @cached_property
    def _map_names(self) -> set[str]:
        return tensor_names(self._maps)

    @cached_property
    def _masks(self) -> Any:
        path = self.path / "masks.safetensors"
        return open_tensors(path) if path.exists() else None

    def map(self, cell: str, interpreter: str, image_id: str) -> Values:
        key = f"{cell}/{interpreter}/{image_id}"
        if key not in self._map_names:
            raise StoreError(f"{self.path / 'maps.safetensors'} has no map {key!r}: the run's files do not fit.")
        found: Values = self._maps.get_tensor(key)
        return found

    @cached_property
    def _has_wanted(self) -> bool:
        """True if all wanted maps are there; the first versions did not keep them."""
        names = self.cells[self._asked].read_by
        return {f"wanted/{name}/{image_id}" for name in names for image_id in self.image_ids} <= self._map_names

    def wanted(self, cell: str, interpreter: str, image_id: str) -> Values | None:
        return self._maps.get_tensor(f"wanted/{interpreter}/{image_id}") if self._has_wanted else None

    def mask(self, image_id: str) -> npt.NDArray[np.bool_] | None:
        if self._masks is None or image_id not in tensor_names(self._masks):
            return None
        return np.asarray(self._masks.get_tensor(image_id)) > 0

    @property
    def has_masks(self) -> bool:
        return self._masks is not None

    def trace(self, cell: str) -> pa.Table | None:
        import pyarrow as pa
        import pyarrow.compute as pc

        path = self.path / "trace.parquet"
        if not path.exists():
            return None
        table = read_table(path)
        table = table.filter(pc.equal(table["attack"], cell))
        read = self.cells[cell]
        # With several interpreters, the trace holds the mean over all of them, which is no curve of any.
        name = read.about[0] if len(read.about) == 1 else f"mean of {' and '.join(read.about)}"
        names = pa.array([name] * len(table), pa.string())
        return table.append_column("interpreter", names) if len(table) else None
