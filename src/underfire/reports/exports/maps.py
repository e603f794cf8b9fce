"""The format ``maps``: all maps in one safetensors file, as runs of earlier versions had them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from underfire.runs.folder import Values
from underfire.runs.run import Run


def write_maps(run: Run, out: Path) -> None:
    """Write the maps under the keys ``CELL/INTERPRETER/IMAGE_ID``, as float32 h x w.

    Wanted maps other than the benign ones have the keys ``wanted/INTERPRETER/IMAGE_ID``. The header is written first,
    and then one map after the other, so that memory does not grow with their number.
    """
    header: dict[str, Any] = {}
    end = 0
    for key, values in _maps(run):
        header[key] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [end, end + 4 * values.size]}
        end += 4 * values.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with out.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, values in _maps(run):
            file.write(np.ascontiguousarray(values, dtype="<f4").tobytes())


def _maps(run: Run) -> Iterator[tuple[str, Values]]:
    """Yield every map with its key, cell by cell."""
    for label, cell in run.cells.items():
        for interpreter in cell.read_by:
            for image_id in run.image_ids:
                yield f"{label}/{interpreter}/{image_id}", run.map(label, interpreter, image_id)
    for part in run.comparisons:
        for interpreter in part.interpreters:
            for image_id in run.image_ids:
                wanted = part.wanted(interpreter, image_id)
                if wanted is not None:
                    yield f"wanted/{interpreter}/{image_id}", wanted
