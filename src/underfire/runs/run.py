"""The reader of runs: everything that a run measured, read from its folder when it is looked at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from underfire.attacks.limits import Flags, Numbers
from underfire.attacks.measure import Measure
from underfire.drawing.notebook import InNotebook, Shown
from underfire.errors import InputError, StoreError, warn
from underfire.files import path_of
from underfire.frames import pandas
from underfire.runs.by_class import rows_by_class
from underfire.runs.cell_folder import CellFolder
from underfire.runs.cells import Cell
from underfire.runs.columns import AFTER, BEFORE
from underfire.runs.comparison import SETTLED, Comparison, settled
from underfire.runs.folder import Folder, Pixels, Row, Values, read_json, read_table
from underfire.runs.former import FormerFolder
from underfire.runs.inputs import PREDICTED
from underfire.runs.outdated import warn_if_outdated
from underfire.runs.outliers import Outliers, outliers
from underfire.runs.record import REPAIR, Former, Record, Started, check_entries
from underfire.runs.repair import damage
from underfire.runs.showing import shown
from underfire.runs.significance import PValues, p_values
from underfire.runs.store import FORMAT
from underfire.runs.summary import summarise
from underfire.text import counted, first_few, plain

if TYPE_CHECKING:
    import pyarrow as pa


class Run(InNotebook):
    """A run that ``underfire attack`` finished, read lazily: rows and maps stay in their files.

    What was read once is kept: open the folder again after something changed it, such as ``--resume``.

    A notebook shows the run as a table with a few images; ``figure()`` gives these as a picture, and ``to_pandas()``
    all rows.

    Args:
        folder: the run's folder.
        finished: refuse a run that is not finished.

    Attributes:
        record: the content of ``run.json``: configuration, hashes, versions, cells.
        cells: the attacks and controls by label.

    Raises:
        StoreError: the folder holds no run, one that is not finished, or one of a later version of underfire.
    """

    def __init__(self, folder: Path | str, *, finished: bool = True) -> None:
        self.path = path_of("folder", folder)
        self.record = read_json(self.path / "run.json", Started, REPAIR)
        if finished and not self.record.get("finished"):
            raise StoreError(f"the run in {self.path} is not finished: finish it with --resume before reporting on it.")
        self.format: int = self.record.get("format", 1)
        if self.format > FORMAT:
            raise StoreError(
                f"the run in {self.path} has folder format {self.format}, and this version of underfire reads formats "
                f"up to {FORMAT}: update underfire."
            )
        shape = Record if self.format > 1 else Former
        check_entries(self.path / "run.json", self.record, shape, REPAIR)
        self.files: Folder = (
            CellFolder(self.path, self.record) if self.format > 1 else FormerFolder(self.path, self.record)
        )
        self.cells: dict[str, Cell] = self.files.cells

    @property
    def name(self) -> str:
        """The name of the run's folder, also if the folder was given as ``.``."""
        return self.path.resolve().name

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration, as JSON values."""
        found: dict[str, Any] = self.record["configuration"]
        return found

    @property
    def predicted_labels(self) -> bool:
        """True if the classifier's own predictions count as the labels of the images."""
        return self.configuration.get("labels") == PREDICTED

    @property
    def classifier(self) -> str:
        """The classifier's name, with control characters escaped."""
        return plain(self.configuration["classifier"])

    @property
    def lacks(self) -> tuple[str, ...]:
        """Phrases for the things that are missing because an earlier version wrote the run."""
        return self.files.lacks

    @property
    def interpreters(self) -> list[str]:
        """The names of all interpreters that read, attacked ones first."""
        return list(dict.fromkeys(name for part in self.comparisons for name in part.interpreters))

    @property
    def images(self) -> dict[str, Any]:
        """Numbers of images: ``attacked``, ``considered``, ``correctly_classified``, and lists of ``unreadable`` and
        ``unusable`` ones."""
        return self.files.images

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Each attack with the controls beside it."""
        attacks = [cell for cell in self.cells.values() if cell.kind == "attack"]
        return [Comparison(self.files, cell) for cell in attacks]

    @cached_property
    def measures(self) -> list[Measure]:
        """The run's measures: known ones, and the user's own as their columns tell of them."""
        return self.files.measures

    def rows(self, columns: Sequence[str] | None = None, cell: str | None = None) -> pa.Table:
        """Read rows: one per image, attack or control, and interpreter, without joint success.

        Args:
            columns: only these columns.
            cell: only the rows of the cell with this label.

        Raises:
            InputError: there is no such cell or column.
        """
        if cell is not None:
            self._check(cell)
        known = [*(name for name, _ in (*BEFORE, *AFTER)), *(measure.name for measure in self.measures)]
        for column in columns or ():
            if column in SETTLED:
                raise InputError(
                    f"column is {column!r}, which all images of the run decide together, so that no row has it by "
                    f"itself: read it with run.column(cell, interpreter, {column!r}), or from results.parquet."
                )
            _check_name("column", column, known)
        return self.files.rows(columns, cell)

    def to_pandas(self) -> Any:
        """Return ``results.parquet`` as a pandas DataFrame.

        Raises:
            InputError: pandas is not installed.
            StoreError: the file is missing or broken.
        """
        pandas()
        self.warn_if_outdated()
        return read_table(self.path / "results.parquet").to_pandas()

    def warn_if_outdated(self) -> None:
        """Warn if an earlier version wrote ``results.parquet`` and ``summary.json``, by another limit of a kept map."""
        warn_if_outdated(self.path, cells=self.format > 1)

    def damage(self) -> list[str]:
        """Check all files of the run's shards by their hashes, at about a gigabyte a second.

        Returns:
            What is wrong, in words, such as ``images/bim/000000-a.png was changed``; empty if all is well, and for
            runs of earlier versions, which wrote no hashes down.
        """
        return damage(self.path, self.record) if self.format == FORMAT else []

    def warn_if_damaged(self) -> None:
        """Warn if a file of the run's shards is missing, or is not as it was written."""
        problems = self.damage()
        if problems:
            warn(
                f"the run in {self.path} was damaged: {first_few(problems, separator='; ')}. Numbers and images may be "
                "wrong. Do the damaged parts again with --resume."
            )

    def _shown(self, count: int, interpreter: str | None) -> Shown:
        if interpreter is not None:
            _check_name("interpreter", interpreter, self.interpreters)
        return shown(self.comparisons, count, interpreter)

    def summary(self) -> dict[str, Any]:
        """Compute the content of ``summary.json``."""
        return summarise(self.files, self.comparisons)

    @cached_property
    def p_values(self) -> PValues:
        """The p-values of each attack against the attack on the prediction alone, by (label, interpreter) and measure:
        ``p``, and ``p_holm``, corrected for all such comparisons of the run; see ``significance.p_values``."""
        return p_values(self.comparisons)

    def by_class(self) -> list[dict[str, Any]]:
        """Compute the results by true class: one entry for each attack, interpreter and class that was attacked.

        Returns:
            Entries with ``cell``, ``attack``, ``interpreter``, ``label`` (the class's number), ``class_name``, ``n``
            (the number of its attacked images), and ``joint_success``, ``joint_success_all``, ``success``, ``map_l1``
            and ``map_l1_target``: means with 95 % intervals. The limits of joint success are held fixed; the intervals
            of ``summary.json`` have their uncertainty, too.
        """
        return rows_by_class(self.comparisons)

    def outliers(self) -> list[Outliers]:
        """Analyse which images keep their maps badly: one entry for each attack and interpreter; see ``Outliers``.

        Each has the attacked ``images`` (how scattered the benign map is, how near a decision boundary the clean image
        lies, the distance that the map ends at), ``correlations``, and a plain ``sentence``.
        """
        return list(self._outliers)

    @cached_property
    def _outliers(self) -> list[Outliers]:
        return outliers(self.comparisons)

    def column(self, cell: str, interpreter: str, measure: str) -> Numbers | Flags:
        """Return N values of a measure under one cell, read by one interpreter; NaN for unknown ones.

        Images are the attacked ones, in the data's order. Joint success is settled here. The chance control is NaN for
        a cell that attacks with different limits share: the clean images beside several eps.

        Raises:
            InputError: there is no such cell or measure, or the interpreter did not read the cell's images.
        """
        self._check(cell, interpreter)
        _check_name("measure", measure, [*(known.name for known in self.measures), "correct_before", *SETTLED])
        if measure in SETTLED:
            return settled(self.comparisons, cell, interpreter, measure)
        return self.files.column(cell, interpreter, measure)

    @property
    def image_ids(self) -> list[str]:
        """The ids of the attacked images, in the data's order."""
        return self.files.image_ids

    @property
    def correct(self) -> Flags:
        """True for attacked images that the classifier got right before, bool N."""
        return self.files.correct

    def row(self, cell: str, interpreter: str, image_id: str) -> Row:
        """Read the row of one image."""
        self._check(cell, interpreter)
        return self.files.row(cell, interpreter, image_id)

    def image(self, row: Row) -> Pixels:
        """Read the judged image of a row: uint8 H x W, or H x W x 3."""
        return self.files.image(row)

    def map(self, cell: str, interpreter: str, image_id: str) -> Values:
        """Read a map h x w in [0, 1]. Raises StoreError if the run does not hold it."""
        self._check(cell, interpreter)
        return self.files.map(cell, interpreter, image_id)

    def wanted(self, cell: str, interpreter: str, image_id: str) -> Values | None:
        """Read the map h x w that the attack had to reach; None if that is the benign map, or was not kept."""
        self._check(cell, interpreter)
        return self.files.wanted(cell, interpreter, image_id)

    def mask(self, image_id: str) -> npt.NDArray[np.bool_] | None:
        """Read the object's true mask, bool H x W; None if the data do not know it."""
        return self.files.mask(image_id)

    @property
    def has_masks(self) -> bool:
        """True if the data know the objects' true masks."""
        return self.files.has_masks

    def class_name(self, number: int | None) -> str:
        """Return the name of a class, ``class N`` if the run recorded no names, and ``any other class`` for None."""
        return self.files.class_name(number)

    def _check(self, cell: str, interpreter: str | None = None) -> None:
        """Raise InputError if there is no such cell, or if the interpreter did not read its images."""
        _check_name("cell", cell, self.cells)
        if interpreter is not None:
            _check_name("interpreter", interpreter, self.cells[cell].read_by, f"cell {cell!r}")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {counted(self.images['attacked'], 'image')}, cells {', '.join(self.cells)})"


def _check_name(kind: str, name: str, known: Collection[str], owner: str = "the run") -> None:
    """Raise InputError if ``name`` is not one of the ``known`` names, which ``owner`` has."""
    if name not in known:
        raise InputError(f"{kind} is {name!r}; {owner} has {', '.join(known)}.")
