"""A comparison: one attack of a run, its controls, and the largest map distance that joint success allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from underfire.attacks.intervals import JointIntervals, Outcome
from underfire.attacks.limits import (
    Flags,
    Limit,
    Numbers,
    all_at_once,
    chance_of,
    joint_success,
    kept_limit,
    reached_limit,
)
from underfire.attacks.measures import MEASURES
from underfire.attacks.perturbations import eps_text
from underfire.runs.cells import Cell
from underfire.runs.folder import Folder, Pixels, Row, Values
from underfire.text import plain

SETTLED = tuple(name for name, measure in MEASURES.items() if measure.compute is None)
"""Measures that depend on the limit, so that they are settled when results are read."""
CHANCE_MEASURES = ("chance_other_map", "chance_average_map")
"""Measures of the chance control, which are the same for all attacks and controls."""

Verdict = Literal["joint", "class", "failed"]


@dataclass(frozen=True)
class Case:
    """One image of a comparison, read by one interpreter.

    Args:
        image_id: the image's id.
        interpreter: the interpreter that reads.
        order: the image's place among the attacked ones.
        rows: the rows of results by role, which is what a row is for in the comparison: ``clean``, ``noise``,
            ``control`` (the attack on the prediction alone, if there is one), ``attack``.
        joint: joint success of the attack on this image.
    """

    image_id: str
    interpreter: str
    order: int
    rows: dict[str, Row] = field(repr=False)
    joint: bool = False

    @property
    def row(self) -> Row:
        """The row of the attack."""
        return self.rows["attack"]

    @property
    def distance(self) -> float:
        """The distance of the attack's map to the wanted one, which decides joint success."""
        return float(self.row["map_l1_target"])

    @property
    def verdict(self) -> Verdict:
        """``joint`` (joint success), ``class`` (the class was reached, and the map is too far from the wanted one) or
        ``failed`` (the class was not reached)."""
        return "joint" if self.joint else "class" if self.row["success"] else "failed"


class Comparison:
    """One attack of a run beside its controls.

    Args:
        files: the run's folder.
        cell: the attack's cell.

    Attributes:
        labels: the labels of the cells by role: ``clean``, ``noise``, ``attack``, and if they exist ``reseeded`` and
            ``control``.
    """

    def __init__(self, files: Folder, cell: Cell) -> None:
        self.files, self.cell = files, cell
        cells = files.cells.values()
        self.labels = {"clean": "clean"}
        beside = {
            "reseeded": [other for other in cells if other.kind == "reseeded"],
            "noise": [other for other in cells if other.kind == "noise" and self._is_beside(other)],
            "control": [other for other in cells if other.kind == "control" and self._is_beside(other)],
        }
        self.labels |= {role: found[0].label for role, found in beside.items() if found}
        self.labels["attack"] = cell.label

    def _is_beside(self, control: Cell) -> bool:
        """Return True if a noise or prediction-only control stands beside this attack, perhaps beside others, too."""
        if control.kind == "noise" and control.noise_size is None:
            return control.beside == self.cell.label
        return control.eps == self.cell.eps and set(self.cell.about) <= set(control.about or control.read_by)

    def _name(self, cell: Cell) -> str:
        """Return the name of an attack or control, with its eps if the attacks of the run have several."""
        radii = {other.eps for other in self.files.cells.values() if other.kind == "attack"}
        return f"{cell.attack} at {eps_text(cell.eps)}" if len(radii) > 1 and cell.eps is not None else cell.attack

    @property
    def attack(self) -> str:
        """The attack's name, with its eps if the attacks of the run have several: ``adv2``, ``adv2 at 8/255``."""
        return self._name(self.cell)

    @property
    def control(self) -> str | None:
        """The name of the attack on the prediction alone; None if there is none."""
        label = self.labels.get("control")
        return None if label is None else self._name(self.files.cells[label])

    @property
    def names(self) -> dict[str, str]:
        """The names of attack and controls by role, in the order of tables."""
        return {role: self._name(self.files.cells[label]) for role, label in self.labels.items()}

    @property
    def interpreters(self) -> list[str]:
        """The interpreters that read the attack's images, attacked ones first."""
        return list(self.cell.read_by)

    @property
    def attacked(self) -> list[str]:
        """The interpreters that the attack is about."""
        return list(self.cell.about)

    @property
    def readers(self) -> list[str]:
        """The interpreters that only read."""
        return [name for name in self.cell.read_by if name not in self.cell.about]

    @property
    def keeps(self) -> bool:
        """True if the wanted map is the benign one."""
        return self.cell.keeps_benign

    @property
    def classifier(self) -> str:
        """The classifier's name, fit to be shown."""
        return plain(self.files.configuration["classifier"])

    @property
    def title(self) -> str:
        """A heading: the attack, the classifier, and the interpreters."""
        source = self.files.record.get("transfer", {}).get("classifier", self.files.configuration["classifier"])
        made = "" if source == self.files.configuration["classifier"] else f" made against {plain(source)}"
        interpreters = " + ".join(plain(name) for name in self.attacked)
        return f"{plain(self.attack)}{made} on {self.classifier}, {interpreters}"

    @property
    def image_ids(self) -> list[str]:
        """The ids of the attacked images, in the data's order."""
        return self.files.image_ids

    @cached_property
    def true_classes(self) -> npt.NDArray[np.int64]:
        """The numbers of the true classes of the attacked images, N, in the data's order."""
        return np.asarray(self.files.column(self.cell.label, self.interpreters[0], "label")).astype(np.int64)

    def has(self, role: str) -> bool:
        """Return True if there is a cell of this role."""
        return role in self.labels

    def column(self, role: str, interpreter: str, measure: str) -> Numbers | Flags:
        """Return N values of a measure, for attacked images in the data's order; joint success is settled here."""
        if measure == "joint_success":
            return self.joint(role, interpreter)
        if measure == "joint_success_own_limit":
            return self.joint(role, interpreter, own=True)
        if measure.startswith("chance_"):
            return self.limits[interpreter].passing[CHANCE_MEASURES.index(measure)]
        if measure == "joint_success_all":
            return self.joint_all(role)
        return self.files.column(self.labels[role], interpreter, measure)

    @cached_property
    def limits(self) -> dict[str, Limit]:
        """The limits of the images by interpreter: a nearer map counts as kept, or as reached."""
        return {name: self._limit(name) for name in self.interpreters}

    def _limit(self, name: str) -> Limit:
        files, correct = self.files, self.files.correct
        benign = partial(self._maps, lambda image_id: files.map("clean", name, image_id))
        if not self.keeps:
            wanted = partial(self._maps, lambda image_id: self.wanted(name, image_id))
            known = self.wanted(name, self.image_ids[0]) is not None
            to_target = np.asarray(files.column("clean", name, "map_l1_target"), dtype=np.float64)
            return reached_limit(to_target, correct, benign, wanted if known else None)
        label = self.labels["noise"]
        noise = np.asarray(files.column(label, name, "map_l1"), dtype=np.float64)[:, None]
        if name not in files.chances:
            files.chances[name] = chance_of(correct, benign)
        return kept_limit(np.concatenate([noise, files.more_noise(label, name)], axis=1), correct, files.chances[name])

    def _maps(self, read: Callable[[str], Values | None], places: Sequence[int]) -> Tensor:
        found = [read(self.image_ids[place]) for place in places]
        return torch.from_numpy(np.stack([np.asarray(values) for values in found]))

    @cached_property
    def intervals(self) -> JointIntervals:
        """The intervals of joint success, for which images and limits are resampled together."""
        return JointIntervals(self.limits)

    def outcome(self, role: str, interpreters: Sequence[str]) -> Outcome:
        """Return what joint success of all ``interpreters`` at once needs to know."""
        success = np.asarray(self.column(role, interpreters[0], "success"), dtype=bool)
        return Outcome(success, {name: self.distances(name, role) for name in interpreters})

    def mean_limit(self, interpreter: str) -> float:
        """The mean of the limits of one interpreter, over images that were classified correctly before."""
        return self.limits[interpreter].mean

    def joint(self, role: str, interpreter: str, own: bool = False) -> Flags:
        """Decide joint success, bool N; with ``own``, by the limit of each image's own noise draws."""
        success = np.asarray(self.column(role, interpreter, "success"), dtype=bool)
        limit = self.limits[interpreter].own if own else self.limits[interpreter].values
        return joint_success(success, self.files.correct, self.distances(interpreter, role), limit)

    def joint_all(self, role: str) -> Flags:
        """Decide joint success of all attacked interpreters at once, bool N."""
        return all_at_once({name: self.joint(role, name) for name in self.attacked})

    def case(self, interpreter: str, order: int) -> Case:
        """Read the rows of one image."""
        image_id = self.image_ids[order]
        rows = {role: self.files.row(label, interpreter, image_id) for role, label in self.labels.items()}
        return Case(image_id, interpreter, order, rows, bool(self.joint("attack", interpreter)[order]))

    def distances(self, interpreter: str, role: str = "attack") -> Numbers:
        """Return the distances of the maps to the wanted ones, N."""
        return np.asarray(self.column(role, interpreter, "map_l1_target"), dtype=np.float64)

    def image(self, row: Row) -> Pixels:
        """Read the judged image of a row."""
        return self.files.image(row)

    def map(self, role: str, interpreter: str, image_id: str) -> Values:
        """Read a map h x w in [0, 1]."""
        return self.files.map(self.labels[role], interpreter, image_id)

    def wanted(self, interpreter: str, image_id: str) -> Values | None:
        """Read the map that the attack had to reach; None if that is the benign map, or was not kept."""
        return None if self.keeps else self.files.wanted(self.labels["attack"], interpreter, image_id)

    def mask(self, image_id: str) -> Any:
        """Read the object's true mask, bool H x W; None if the data do not know it."""
        return self.files.mask(image_id)

    def becomes(self, case: Row) -> str:
        """Name the class of an attacked image, by its row: the classifier's own, or what the row tells of it."""
        predicted = self.files.predicted(self.labels["attack"], case["image_id"])
        if predicted is not None:
            return self.class_name(predicted)
        label, target = self.class_name(case["label"]), self.class_name(case["target"])
        return target if case["success"] else f"neither {label} nor {target}" if case["untargeted_success"] else label

    def toward(self, case: Row) -> str:
        """Name the class that an attack led an image to: the target, or the one that it got if any would do."""
        untargeted = case["target"] is None and case["success"]
        return self.becomes(case) if untargeted else self.class_name(case["target"])

    def class_name(self, number: int | None) -> str:
        """Return the name of a class."""
        return self.files.class_name(number)


def settled(parts: Sequence[Comparison], cell: str, interpreter: str, measure: str) -> Numbers | Flags:
    """Settle a measure that depends on limits for one cell and interpreter, N values.

    Args:
        parts: all comparisons of the run. Several of them may share a cell: the clean images stand beside the attacks
            of every eps. The chance control of such a cell is NaN if they have different limits.
        cell: the label of a cell.
        interpreter: an interpreter that read the cell's images.
        measure: one of ``SETTLED``.
    """
    found = [
        part.column(role, interpreter, measure)
        for part in parts
        for role, label in part.labels.items()
        if label == cell and interpreter in part.interpreters
    ]
    one = measure not in CHANCE_MEASURES or all(np.array_equal(found[0], each, equal_nan=True) for each in found[1:])
    return found[0] if one else np.full(len(found[0]), np.nan)
