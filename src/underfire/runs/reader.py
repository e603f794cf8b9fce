"""A finished run, read back from its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from underfire.errors import StoreError
from underfire.runs.store import WANTED
from underfire.runs.summary import joint_success_all
from underfire.text import plain

Row = dict[str, Any]
Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Outcome = Literal["joint", "class", "failed"]

CONTROLS = ("clean", "reseeded", "noise")


@dataclass(frozen=True)
class Case:
    """What was measured on one image with one interpreter: a row of ``results.parquet`` by attack."""

    image_id: str
    interpreter: str
    order: int
    attack: str
    rows: dict[str, Row] = field(repr=False)

    @property
    def row(self) -> Row:
        """The row of the attack that was asked for."""
        return self.rows[self.attack]

    @property
    def distance(self) -> float:
        """Of the attack's map to its target: what joint success is decided by."""
        return float(self.row["map_l1_target"])

    @property
    def outcome(self) -> Outcome:
        if self.row["joint_success"]:
            return "joint"
        return "class" if self.row["success"] else "failed"


@dataclass(frozen=True)
class Run:
    """A run that ``underfire attack`` finished.

    ``summary`` and ``record`` are the contents of ``summary.json`` and ``run.json``, ``cases`` the attacked images by
    interpreter, in the data's order.
    """

    folder: Path
    summary: dict[str, Any] = field(repr=False)
    record: dict[str, Any] = field(repr=False)
    cases: dict[str, list[Case]] = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read the run in ``folder``. Raises StoreError where there is none, or one that is not finished."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = Path(folder)
        record, summary = _json(folder / "run.json"), _json(folder / "summary.json")
        if not record.get("finished"):
            raise StoreError(f"the run in {folder} is not finished: finish it with --resume before reporting on it.")
        path = folder / "results.parquet"
        try:
            rows: list[Row] = pq.read_table(path).to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        several = len(summary["interpreters"]) - len(summary.get("readers", ())) > 1
        if several and "joint_success_all" not in summary:  # written before there was one
            compared = [summary["attack"], *([summary["control"]] if summary.get("control") else [])]
            summary["joint_success_all"] = joint_success_all(rows, compared)
        return cls(folder, summary, record, _cases(rows, summary["attack"]))

    @property
    def attack(self) -> str:
        """The attack that was asked for."""
        return str(self.summary["attack"])

    @property
    def interpreters(self) -> list[str]:
        return list(self.summary["interpreters"])

    @property
    def readers(self) -> list[str]:
        """Those of ``interpreters`` that were not attacked."""
        return list(self.summary.get("readers", ()))

    @property
    def attacked(self) -> list[str]:
        """The others."""
        return [name for name in self.interpreters if name not in self.readers]

    @property
    def configuration(self) -> dict[str, Any]:
        found: dict[str, Any] = self.record["configuration"]
        return found

    @property
    def classifier(self) -> str:
        return plain(self.configuration["classifier"])

    @property
    def name(self) -> str:
        """For headings: what was attacked, and how."""
        return f"{self.classifier}, {plain(self.attack)} on {' + '.join(plain(name) for name in self.attacked)}"

    @property
    def control(self) -> str | None:
        """The attack on the prediction alone that stands beside the one that was asked for, if one does."""
        control = self.summary.get("control")
        return None if control is None else str(control)

    def joint_success(self, attack: str, interpreter: str | None = None) -> dict[str, Any]:
        """How many images got the class from ``attack`` and kept the map of ``interpreter``; of every attacked one at
        once where None. With its interval."""
        if interpreter is None and len(self.attacked) > 1:
            found: dict[str, Any] = self.summary["joint_success_all"][attack]
        else:
            group = self.summary["interpreters"][interpreter or self.attacked[0]]
            found = group["attacks"][attack]["joint_success"]
        return found

    @property
    def headlines(self) -> list[tuple[str, str | None]]:
        """What joint success is asked for, in words and as ``joint_success`` takes it: of several attacked interpreters
        all maps at once first, then each by itself, those last that only read."""
        found: list[tuple[str, str | None]] = []
        if len(self.attacked) > 1:
            found.append((f"{' and '.join(map(plain, self.attacked))} at once", None))
        found += [(plain(name), name) for name in self.attacked]
        return found + [(f"{plain(name)}, not attacked", name) for name in self.readers]

    @property
    def keeps(self) -> bool:
        """Whether the map that was wanted is the benign one, and not another."""
        return bool(self.configuration.get("target_map", "benign") == "benign")

    def class_name(self, number: int | None) -> str:
        """The name of a class where the run recorded it, its number otherwise; ``any other`` for None."""
        if number is None:
            return "any other"
        names = self.record.get("class_names") or []
        return plain(names[number]) if 0 <= number < len(names) else f"class {number}"

    def image(self, row: Row) -> Pixels:
        """The judged image of a row: uint8 H x W, or H x W x 3."""
        path = self.folder / row["image_file"]
        try:
            with Image.open(path) as image:
                return np.array(image.convert("L" if image.mode == "L" else "RGB"), dtype=np.uint8)
        except OSError as error:
            raise StoreError(f"image {path} of the run cannot be read: {error}") from error

    def map(self, attack: str, interpreter: str, image_id: str) -> Values:
        """A map h x w in [0, 1]. Raises StoreError where the run does not hold it."""
        key = f"{attack}/{interpreter}/{image_id}"
        if key not in self._map_names:
            raise StoreError(f"{self.folder / 'maps.safetensors'} has no map {key!r}: the run's files do not fit.")
        found: Values = self._maps.get_tensor(key)
        return found

    def wanted(self, interpreter: str, image_id: str) -> Values | None:
        """The map h x w that the attack had to reach, where it is another than the benign one. None, too, where a
        version that did not keep it made any part of the run."""
        return self.map(WANTED, interpreter, image_id) if self._has_wanted else None

    def mask(self, image_id: str) -> npt.NDArray[np.bool_] | None:
        """The object's true mask, bool H x W, where the data knows it."""
        if self._masks is None or image_id not in self._mask_names:
            return None
        found: npt.NDArray[np.bool_] = self._masks.get_tensor(image_id) > 0
        return found

    @property
    def has_masks(self) -> bool:
        return self._masks is not None

    @cached_property
    def _has_wanted(self) -> bool:
        every = {f"{WANTED}/{case.interpreter}/{case.image_id}" for cases in self.cases.values() for case in cases}
        return not self.keeps and every <= self._map_names

    @cached_property
    def _maps(self) -> Any:
        return _open(self.folder / "maps.safetensors")

    @cached_property
    def _map_names(self) -> set[str]:
        return set(self._maps.keys())

    @cached_property
    def _masks(self) -> Any:
        path = self.folder / "masks.safetensors"
        return _open(path) if path.exists() else None

    @cached_property
    def _mask_names(self) -> set[str]:
        return set(self._masks.keys())


def spread(values: Sequence[float], count: int) -> list[int]:
    """Indices of at most ``count`` of ``values``, evenly over their order, smallest and largest among them.

    Ties keep their order. One alone is the middle one. NaN counts as largest.
    """
    order = sorted(range(len(values)), key=lambda i: (math.isnan(values[i]), values[i], i))
    if count < 1 or len(order) <= count:
        return order if count >= 1 else []
    if count == 1:
        return [order[len(order) // 2]]
    return [order[round(step * (len(order) - 1) / (count - 1))] for step in range(count)]


def _cases(rows: Sequence[Row], attack: str) -> dict[str, list[Case]]:
    order: dict[str, int] = {}
    found: dict[str, dict[str, dict[str, Row]]] = {}
    for row in rows:
        order.setdefault(row["image_id"], len(order))
        found.setdefault(row["interpreter"], {}).setdefault(row["image_id"], {})[row["attack"]] = row
    return {
        interpreter: [Case(i, interpreter, order[i], attack, by) for i, by in images.items() if attack in by]
        for interpreter, images in found.items()
    }


def _open(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="np")
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(
            f"{path.parent} holds no finished run: {path.name} is missing. Expected a folder that 'underfire attack' "
            "wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path} holds a {type(content).__name__}; expected what 'underfire attack' writes there.")
    return content
