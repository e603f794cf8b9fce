"""The contract of readers of a run's folder. There is one for each folder format."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from underfire.attacks.limits import Flags, Numbers
from underfire.attacks.measure import Measure
from underfire.attacks.measures import MEASURES
from underfire.data.saved import load_png, visible
from underfire.errors import StoreError
from underfire.metrics.chance import Chance
from underfire.runs.cells import Cell
from underfire.runs.columns import measure_of
from underfire.runs.record import Summary, check_entries
from underfire.text import plain

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]


class Folder(ABC):
    """The files of one run. Methods, and most attributes, are those of ``Run``, which uses it.

    Attributes:
        chances: the chance control of the benign maps by interpreter, made when first asked for. All attacks of the run
            that keep these maps have the same.
        keeps: an object that lives as long as the files are read, such as a temporary folder that holds them.
    """

    lacks: tuple[str, ...] = ()
    keeps: object = None
    cells: dict[str, Cell]

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path, self.record = path, record
        self.chances: dict[str, Chance] = {}

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration, as JSON values."""
        found: dict[str, Any] = self.record["configuration"]
        return found

    @property
    @abstractmethod
    def images(self) -> dict[str, Any]:
        """Numbers of images: attacked, considered, correctly classified, unreadable or unusable with reasons."""

    @property
    @abstractmethod
    def measures(self) -> list[Measure]:
        """The measures that the run holds."""

    @property
    @abstractmethod
    def image_ids(self) -> list[str]:
        """The ids of the attacked images, in the data's order."""

    @property
    @abstractmethod
    def correct(self) -> Flags:
        """True for attacked images that the classifier got right before, bool N."""

    @abstractmethod
    def rows(self, columns: Sequence[str] | None, cell: str | None) -> pa.Table:
        """Read rows: all, or those of one cell."""

    @abstractmethod
    def column(self, cell: str, interpreter: str, measure: str) -> Numbers | Flags:
        """Return N values of a measure, for attacked images in the data's order."""

    def more_noise(self, cell: str, interpreter: str) -> Numbers:
        """Return the map distances under further noise draws, N x draws; N x 0 if the run has one draw only."""
        return np.zeros((len(self.image_ids), 0))

    @abstractmethod
    def row(self, cell: str, interpreter: str, image_id: str) -> Row:
        """Read the row of one image."""

    @abstractmethod
    def map(self, cell: str, interpreter: str, image_id: str) -> Values:
        """Read a map h x w."""

    @abstractmethod
    def wanted(self, cell: str, interpreter: str, image_id: str) -> Values | None:
        """Read the wanted map of an attack, if it is not the benign one."""

    def predicted(self, cell: str, image_id: str) -> int | None:
        """Return the class that the classifier gives an image of a cell; None if the run does not know it."""
        return None

    @abstractmethod
    def mask(self, image_id: str) -> npt.NDArray[np.bool_] | None:
        """Read the object's true mask."""

    @property
    @abstractmethod
    def has_masks(self) -> bool:
        """True if the data know the objects' true masks."""

    @abstractmethod
    def trace(self, cell: str) -> pa.Table | None:
        """Read the course of an attack; None if there is none."""

    def image(self, row: Row) -> Pixels:
        """Read the judged image of a row: uint8 H x W, or H x W x 3 (the first three of more channels)."""
        path = self.path / row["image_file"]
        try:
            return visible(load_png(path))
        except OSError as error:
            raise StoreError(f"image {path} of the run cannot be read: {error}") from error

    def class_name(self, number: int | None) -> str:
        """Return the name of a class for headings and captions."""
        if number is None:
            return "any other class"
        names = self.record.get("class_names") or []
        return plain(names[number]) if 0 <= number < len(names) else f"class {number}"


def read_json(path: Path, shape: type[BaseModel] | None = None, repair: str = "") -> dict[str, Any]:
    """Read a JSON object of a run's folder.

    Args:
        path: the file.
        shape: the entries that it must have; see ``record``. Not checked if None.
        repair: a sentence that says what to do about a damaged file.

    Raises:
        StoreError: it is missing, or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        runs = sorted((path.parent / "runs").glob("*/run.json"))
        campaign = f" It holds a campaign: give one of its runs, such as {runs[0].parent}." if runs else ""
        raise StoreError(
            f"{path.parent} holds no finished run: {path.name} is missing. Expected a folder that 'underfire attack' "
            f"wrote.{campaign}"
        ) from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise StoreError(f"{path} holds a {type(content).__name__}; expected what 'underfire attack' writes there.")
    if shape is not None:
        check_entries(path, content, shape, repair)
    return content


def read_summary(folder: Path) -> dict[str, Any]:
    """Read ``summary.json`` of a run's folder. Raises StoreError if it is missing or damaged."""
    again = f"'underfire report {folder} --tables' makes it again."
    return read_json(folder / "summary.json", Summary, again)


def results_in(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the results that the content of a ``summary.json`` holds.

    Returns:
        One for each eps (with the key ``eps``), one for each attack (with the keys ``cell`` and ``eps``), or the
        content itself.
    """
    return summary.get("by_eps") or summary.get("by_attack") or [summary]


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or columns of it in their order. Raises StoreError if it is missing or broken.

    A file whose bytes have changed is broken: each page has a checksum. Files of a run are small, and ``pq.read_table``
    takes twice as long for these: it looks for a data set of many files, and starts threads.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(columns=None if columns is None else list(columns), use_threads=False)
        return table if columns is None else table.select(list(columns))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} cannot be read: {error}. If it was damaged, the command that made the run makes it again with "
            "--resume."
        ) from error


def open_tensors(path: Path) -> Any:
    """Open a safetensors file, whose tensors are read when asked for. Raises StoreError if it is missing or broken."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="np")
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def tensor_names(tensors: Any) -> set[str]:
    """List the names of the tensors in an open safetensors file."""
    return set(tensors.keys())


def numbers(column: Any) -> Numbers | Flags:
    """Copy an Arrow column into an array: booleans as they are, others as float64 with NaN for null."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type) and not column.null_count:
        return np.array(column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy())
    return np.array(column.cast(pa.float64()).to_numpy(), dtype=np.float64)


def known_measures(table_schema: pa.Schema, skip: Sequence[str]) -> list[Measure]:
    """Return the measures whose columns a table has: from the table of measures, or one made of its column."""
    found, known = [], dict(MEASURES.items())
    for field in table_schema:
        if field.name in skip:
            continue
        if field.name in known:
            found.append(known[field.name])
            continue
        found.append(measure_of(field))
    return found
