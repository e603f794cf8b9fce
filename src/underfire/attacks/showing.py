"""The display of a call's result: its table and pictures in a notebook, and its rows as a DataFrame."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from underfire.attacks.intervals import JointIntervals, Outcome
from underfire.attacks.judge import Judgement
from underfire.attacks.limits import Limit, Numbers
from underfire.attacks.measures import Values
from underfire.data.saved import visible
from underfire.drawing.notebook import Example, InNotebook, Shown, TableRow, caption, example, places
from underfire.drawing.pictures import Pixels
from underfire.errors import InputError
from underfire.frames import pandas
from underfire.text import counted


class Showing(InNotebook):
    """The table, pictures and rows of a result. See ``AttackResult`` for the attributes."""

    attack: str
    images: Tensor
    labels: Tensor
    target: Tensor | None
    adversarial: Tensor
    success: Tensor
    joint_success: dict[str, Tensor]
    correct_before: Tensor
    maps: dict[str, Tensor]
    benign_maps: dict[str, Tensor]
    target_maps: dict[str, Tensor]
    limits: dict[str, Limit]
    attacked: tuple[str, ...]
    values: Values
    controls: dict[str, Judgement]
    class_names: tuple[str, ...]
    predicted: Tensor | None

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame: one row per attack or control, interpreter, and image.

        Its columns are those of ``results.parquet`` that a call has: ``position`` (the image's place in the call),
        ``label``, ``target``, ``attack``, ``interpreter``, ``correct_before``, and every measure.

        Raises:
            InputError: pandas is not installed.
        """
        frame = pandas()
        tables = []
        for attack, values in self._measured().items():
            for name in self.maps:
                columns: dict[str, Any] = {
                    "position": range(len(self.labels)),
                    "label": self.labels,
                    "target": self.target,
                    "attack": attack,
                    "interpreter": name,
                    "correct_before": self.correct_before,
                }
                by_map = {key: value.get(name) if isinstance(value, dict) else value for key, value in values.items()}
                columns |= {key: value for key, value in by_map.items() if value is not None}
                columns |= self._settled(values, name)
                numbers = {k: v.cpu().numpy() if isinstance(v, Tensor) else v for k, v in columns.items()}
                tables.append(frame.DataFrame(numbers))
        return frame.concat(tables, ignore_index=True)

    def _measured(self) -> dict[str, Values]:
        """Return the measures of the controls and of the attack, by name."""
        return {**{name: judged.values for name, judged in self.controls.items()}, self.attack: self.values}

    def _settled(self, values: Values, interpreter: str) -> dict[str, Tensor]:
        """Return the measures of the attack or of a control that depend on the limits, N values each."""
        other, average = self.limits[interpreter].passing
        return {
            "joint_success": self._joint(values, interpreter),
            "joint_success_all": torch.stack([self._joint(values, name) for name in self.attacked]).all(0),
            "joint_success_own_limit": self._joint(values, interpreter, own=True),
            "chance_other_map": torch.from_numpy(other),
            "chance_average_map": torch.from_numpy(average),
        }

    def _joint(self, values: Values, interpreter: str, own: bool = False) -> Tensor:
        """Decide joint success of the attack or of a control, bool N; ``own``: by each image's own noise draws."""
        limit = self.limits[interpreter]
        near = _distances(values, interpreter) < (limit.own if own else limit.values)
        return _of(values, "success", interpreter) & self.correct_before.cpu() & torch.from_numpy(near)

    def _shown(self, count: int, interpreter: str | None) -> Shown:
        name = next(iter(self.maps)) if interpreter is None else interpreter
        if name not in self.maps:
            raise InputError(f"interpreter is {name!r}; the result has {', '.join(self.maps)}.")
        right = self.correct_before.cpu()
        rows, intervals = [], JointIntervals(self.limits)
        for reader in self.maps:
            for attack, values in self._measured().items():
                success, distance = _of(values, "success", reader)[right], _of(values, "map_l1_target", reader)[right]
                outcome = Outcome(_of(values, "success", reader).numpy(), {reader: _distances(values, reader)})
                joint = intervals.joint(outcome)
                if attack != "clean":
                    rows.append(TableRow(attack, reader, success, distance, joint, attack == self.attack))
        chosen = [self._example(place, name) for place in places(right.tolist(), count)]
        known = counted(int(right.sum()), "image")
        remark = f"Means over {known} classified correctly before, with 95 % intervals."
        return Shown(f"{self.attack}: {counted(len(right), 'image')}", rows, chosen, remark)

    def _example(self, place: int, interpreter: str) -> Example:
        clean, adversarial = _pixels(self.images[place]), _pixels(self.adversarial[place])
        benign, wanted, found = (
            maps[interpreter][place].float().cpu().numpy() for maps in (self.benign_maps, self.target_maps, self.maps)
        )
        maps = {"map before": (clean, benign)}
        if not np.array_equal(benign, wanted):
            maps["wanted map"] = (clean, wanted)
        maps["map after"] = (adversarial, found)
        target = "any other class" if self.target is None else self._class_name(int(self.target[place]))
        if self.target is None and self.predicted is not None and bool(self.success[place]):
            target = self._class_name(int(self.predicted[place]))
        said = caption(
            self._class_name(int(self.labels[place])),
            target,
            success=bool(self.success[place]),
            joint=bool(self.joint_success[interpreter][place]),
            keeps="wanted map" not in maps,
        )
        return example(said, clean, adversarial, maps)

    def _class_name(self, number: int) -> str:
        return self.class_names[number] if number < len(self.class_names) else f"class {number}"


def _of(values: Values, measure: str, interpreter: str) -> Tensor:
    """Return the N values of a measure, for one interpreter if it has values per map, on the CPU."""
    found = values[measure]
    return (found[interpreter] if isinstance(found, dict) else found).cpu()


def _distances(values: Values, interpreter: str) -> Numbers:
    numbers: Numbers = _of(values, "map_l1_target", interpreter).double().numpy()
    return numbers


def _pixels(image: Tensor) -> Pixels:
    """Return an image C x H x W in [0, 1] as uint8 H x W, or H x W x 3 of the first three channels."""
    return visible((image.float() * 255).round().to("cpu", torch.uint8))
