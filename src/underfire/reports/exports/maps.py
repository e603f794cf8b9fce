"""The format ``maps``: all maps of a run in one safetensors file, as earlier versions wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from underfire.errors import StoreError
from underfire.runs.folder import Values
from underfire.runs.run import Run

LONGEST_HEADER = 100_000_000
"""The longest header that readers of safetensors accept, in bytes."""


def write_maps(run: Run, out: Path) -> None:
    """Write all maps, float32 h x w, with the keys ``CELL/INTERPRETER/IMAGE_ID``.

    The clean cell also has the maps of images that were not attacked. Wanted maps have the keys
    ``wanted/INTERPRETER/IMAGE_ID``, if they are not the benign maps. Maps are written one by one, so that memory does
    not grow with their number.

    Raises:
        StoreError: the names of all maps are too long for one file, or a map is missing.
    """
    groups = list(_groups(run))
    length = sum(map(len, _header(groups)))
    padding = -length % 8  # data begin at a multiple of 8 bytes
    if length > LONGEST_HEADER:
        raise StoreError(
            f"the run in {run.path} has {sum(len(group.image_ids) for group in groups)} maps: their names take "
            f"{length} bytes, and a safetensors file has room for {LONGEST_HEADER}. Read the files below cells/ "
            "instead."
        )
    with out.open("wb") as file:
        file.write((length + padding).to_bytes(8, "little"))
        file.writelines(_header(groups))
        file.write(b" " * padding)
        for group in groups:
            file.writelines(group.read(run, image_id).tobytes() for image_id in group.image_ids)


@dataclass(frozen=True)
class _Group:
    """The maps of one cell and interpreter: ``name`` begins the key of each, and all have the same ``shape``."""

    name: str
    cell: str
    interpreter: str
    image_ids: list[str]
    shape: tuple[int, ...]
    wanted: bool = False

    def read(self, run: Run, image_id: str) -> Values:
        values = (run.wanted if self.wanted else run.map)(self.cell, self.interpreter, image_id)
        if values is None or values.shape != self.shape:
            raise StoreError(
                f"map {self.name}/{image_id} of the run in {run.path} is missing, or not {self.shape[0]} x "
                f"{self.shape[1]} like that of the first image: the run's files do not fit together."
            )
        return np.ascontiguousarray(values, dtype="<f4")


def _groups(run: Run) -> Iterator[_Group]:
    first = run.image_ids[0]
    yielded: set[str] = set()  # attacks of several eps want the same maps
    for label, cell in run.cells.items():
        clean = cell.kind == "clean"
        ids = list(dict.fromkeys(run.rows(["image_id"], label)["image_id"].to_pylist())) if clean else run.image_ids
        for name in cell.read_by:
            yield _Group(f"{label}/{name}", label, name, ids, run.map(label, name, first).shape)
            wanted = run.wanted(label, name, first) if cell.kind == "attack" and not cell.keeps_benign else None
            if wanted is not None and name not in yielded:
                yielded.add(name)
                yield _Group(f"wanted/{name}", label, name, ids, wanted.shape, wanted=True)


def _header(groups: list[_Group]) -> Iterator[bytes]:
    """Yield the header of a safetensors file in pieces, to save memory."""
    begin, mark = 0, "{"
    for group in groups:
        size = 4 * int(np.prod(group.shape))
        for image_id in group.image_ids:
            entry = {"dtype": "F32", "shape": group.shape, "data_offsets": (begin, begin + size)}
            yield f"{mark}{json.dumps(f'{group.name}/{image_id}')}:{json.dumps(entry)}".encode()
            begin, mark = begin + size, ","
    yield b"}"
