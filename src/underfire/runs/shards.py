"""Shards: a part of a run's images, attacked and judged for every cell, and turned into rows and tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.aim import Aim
from underfire.attacks.benign import Benign, read_benign
from underfire.attacks.experiment import Finding
from underfire.attacks.judge import Judgement, judge_clean
from underfire.attacks.outcome import Outcome
from underfire.classifiers import check_images
from underfire.data import Batch
from underfire.errors import DataError, InputError
from underfire.runs.borrowing import borrow
from underfire.runs.columns import TRACE, by_position, schema
from underfire.runs.plan import Plan
from underfire.runs.shard_files import Shard
from underfire.runs.trial import try_measures

TRACED = 40
"""About how often the course of an attack is written down, whatever its length."""

CONTROL_MAPS = {"noise": "maps under noise", "reseeded": "reseeded maps"}
"""Words for the maps of controls that are no attacks, for progress bars."""


def attack_shard(
    plan: Plan, index: int, positions: Sequence[int], advance: Callable[[int], None], reading: Callable[[str], None]
) -> None:
    """Run all cells of one shard that are not there yet, and write them.

    Args:
        index: the shard's number.
        positions: the places of its images among those that the run looked at.
        advance: called with the number of steps done, over all of the shard's images and attacks.
        reading: called with a few words before maps are read, which takes long if they are solved for.
    """
    missing = [
        arm
        for arm in plan.experiment.arms
        if not plan.store.has_shard(plan.cells[arm.label].key, index)
        and not borrow(plan.store, plan.cells[arm.label], index, plan.siblings)
    ]
    if not missing:
        return
    part = _Part(plan, index, list(positions))
    reading("benign maps")
    benign, rows = part.benign, part.attacked
    if rows and index == 0 and not all(plan.selection.attacked):
        first = benign.take(benign.labels.new_zeros(1))
        try_measures(first, plan.experiment.measures, part.masks_of(rows[:1]))
    if not rows:
        part.write_clean(None)
        for arm in plan.experiment.arms:
            if arm.kind != "clean":
                part.write_nothing(arm.label)
        return
    aims = plan.experiment.aims(benign)
    done = 0
    for arm in plan.experiment.arms:
        steps = 0 if arm.attack is None else arm.attack.steps * len(rows)
        if arm in missing:
            finding = plan.experiment.perform(
                arm,
                benign.only(arm.read_by),
                aims[arm.label],
                progress=partial(_advance, advance, done, steps),
                trace_every=None if arm.attack is None else max(1, arm.attack.steps // TRACED),
                masks=part.masks_of(rows),
                reading=partial(reading, CONTROL_MAPS.get(arm.kind, f"maps after {arm.label}")),
            )
            part.write_clean(finding) if arm.kind == "clean" else part.write(arm.label, finding, rows)
        done += steps
        advance(done)


def _advance(advance: Callable[[int], None], before: int, share: int, step: int, total: int) -> None:
    advance(before + share * step // total)


class _Part:
    """One shard: its images, which are read when they are first needed, and the writing of its cells.

    ``attacked`` and ``rest`` are places in the shard; ``positions`` are places among the images that the run looked at.
    """

    def __init__(self, plan: Plan, index: int, positions: list[int]) -> None:
        self.plan, self.index, self.positions = plan, index, positions
        selection = plan.selection
        self.attacked = [place for place, position in enumerate(positions) if selection.attacked[position]]
        self.rest = [place for place, position in enumerate(positions) if not selection.attacked[position]]

    @cached_property
    def batch(self) -> Batch:
        plan, classifier = self.plan, self.plan.experiment.system.classifier
        chosen = [plan.selection.considered[position] for position in self.positions]
        batch = plan.data.load(classifier.image_size, classifier.channels, chosen, classifier.resizing)
        if batch.unreadable:
            path, why = batch.unreadable[0]
            raise DataError(f"{path} could be read when the run began, and cannot be now: {why}")
        return batch

    @cached_property
    def masks(self) -> Tensor | None:
        plan, classifier = self.plan, self.plan.experiment.system.classifier
        chosen = [plan.selection.considered[position] for position in self.positions]
        height, width = self.batch.images.shape[2:]
        return plan.data.masks((height, width), chosen, classifier.resizing)

    def masks_of(self, rows: Sequence[int]) -> Tensor | None:
        return None if self.masks is None else self.masks[list(rows)]

    @cached_property
    def everyone(self) -> Benign:
        """All images of the shard with their benign readings; from the clean cell if that is complete."""
        plan, batch = self.plan, self.batch
        system, cell = plan.experiment.system, plan.cells["clean"]
        if not plan.store.has_shard(cell.key, self.index):
            return read_benign(system, batch.images, batch.labels, batch.ids)
        device = system.classifier.device
        stored = plan.store.read_tensors(cell.key, self.index)
        images, labels = check_images(batch.images, system.classifier).to(device), batch.labels.to(device)
        ids, logits = randomness.identify(batch.images, batch.ids).to(device), stored["logits"].to(device)
        maps = {name: stored[f"maps/{name}"].to(device) for name in system.interpreters}
        return Benign(images, labels, ids, logits, maps, tuple(system.readers), system.labels)

    @cached_property
    def benign(self) -> Benign:
        """The attacked images."""
        return self.everyone.take(torch.tensor(self.attacked, dtype=torch.int64, device=self.everyone.images.device))

    def write_clean(self, finding: Finding | None) -> None:
        """Write the clean cell: all images of the shard, attacked or not."""
        system = self.plan.experiment.system
        parts: list[tuple[list[int], Judgement, Aim | None]] = []
        if finding is not None:
            parts.append((self.attacked, finding.judgement, finding.aim))
        if self.rest:
            others = self.everyone.take(torch.tensor(self.rest, device=self.everyone.images.device))
            measures = self.plan.experiment.measures
            parts.append((self.rest, judge_clean(others, None, measures, self.masks_of(self.rest)), None))
        tables = [self._rows("clean", judged, rows, aim) for rows, judged, aim in parts]
        order = torch.tensor([place for rows, _, _ in parts for place in rows]).argsort()
        tensors = {
            f"maps/{name}": torch.cat([judged.maps[name] for _, judged, _ in parts])[order]
            for name in system.interpreters
        }
        tensors["logits"] = torch.cat([judged.logits for _, judged, _ in parts])[order]
        if self.masks is not None:
            tensors["masks"] = self.masks.to(torch.uint8)
        table = pa.concat_tables(tables)
        self._write("clean", Shard(by_position(table), TRACE.empty_table(), tensors))

    def write(self, label: str, finding: Finding, rows: Sequence[int]) -> None:
        """Write the shard of any cell except the clean one; ``rows`` are the attacked images' places in the shard."""
        judged = finding.judgement
        tensors = {f"maps/{name}": maps for name, maps in judged.maps.items()} | {"logits": judged.logits}
        tensors |= {f"noise/{name}": distances for name, distances in finding.more_noise.items()}
        if not finding.aim.keeps_benign and finding.arm.kind == "attack":
            tensors |= {f"wanted/{name}": finding.aim.maps[name].cpu() for name in judged.maps}
        table = self._rows(label, judged, rows, finding.aim)
        self._write(label, Shard(by_position(table), self._trace(label, rows, finding.outcome), tensors))

    def write_nothing(self, label: str) -> None:
        """Write a shard without attacked images."""
        empty = schema(self.plan.experiment.measures, settled=False).empty_table()
        self._write(label, Shard(empty, TRACE.empty_table(), {}))

    def _write(self, label: str, shard: Shard) -> None:
        self.plan.store.write_shard(self.plan.cells[label].key, self.index, shard)

    def _rows(self, label: str, judged: Judgement, places: Sequence[int], aim: Aim | None) -> pa.Table:
        """Write the judged images, and make their rows: one per image and interpreter that reads."""
        plan, cell = self.plan, self.plan.cells[label]
        store, selection, records = plan.store, plan.selection, self.batch.records
        count, positions = len(places), [self.positions[place] for place in places]
        files = [
            store.save_image(label, position, records[place].image_id, image)
            for place, position, image in zip(places, positions, judged.images, strict=True)
        ]
        targets = aim.classes.tolist() if aim is not None and aim.goal.targeted else [None] * count
        common: dict[str, Sequence[Any]] = {
            "position": positions,
            "image_id": [records[place].image_id for place in places],
            "path": [records[place].path for place in places],
            "image_file": files,
            "label": [records[place].label for place in places],
            "target": targets,
            "classifier": [plan.config.classifier] * count,
            "attack": [cell.attack] * count,
            "cell": [label] * count,
            "perturbation": [cell.perturbation] * count,
            "shaping": [cell.shaping] * count,
            "eps": [cell.eps] * count,
            "attacked_interpreters": ["+".join(cell.attacked)] * count,
            "correct_before": [selection.correct[position] for position in positions],
            "seed": [plan.config.seed] * count,
        }
        wanted = schema(plan.experiment.measures, settled=False)
        tables = []
        for interpreter in judged.maps:
            columns = {**common, "interpreter": [interpreter] * count}
            for name, values in judged.values.items():
                known = values.get(interpreter) if isinstance(values, dict) else values
                if known is not None:
                    columns[name] = known.tolist()
            missing: list[None] = [None] * count
            arrays = [_array(field, columns.get(field.name, missing)) for field in wanted]
            tables.append(pa.table(arrays, schema=wanted))
        return pa.concat_tables(tables)

    def _trace(self, label: str, places: Sequence[int], outcome: Outcome | None) -> pa.Table:
        if outcome is None or outcome.trace is None:
            return TRACE.empty_table()
        cell, records = self.plan.cells[label], self.batch.records
        columns = {name: values.numpy() for name, values in outcome.trace.columns.items()}
        noted: list[dict[str, Any]] = []
        for row, place in enumerate(places):
            common = {
                "position": self.positions[place],
                "image_id": records[place].image_id,
                "attack": cell.attack,
                "cell": label,
            }
            for index, (step, stage) in enumerate(zip(outcome.trace.steps, outcome.trace.stages, strict=True)):
                success = columns["success"][index, row]
                if math.isnan(success):
                    continue
                for interpreter in cell.read_by:
                    if interpreter in cell.about:
                        distance = _known(columns, f"map_l1/{interpreter}", index, row)
                        values = {"success": bool(success), "interpreter": interpreter, "map_l1": distance}
                        noted.append({**common, "stage": stage, "step": step, **values})
        return pa.Table.from_pylist(noted, schema=TRACE)


def _known(columns: Mapping[str, Any], name: str, index: int, row: int) -> float | None:
    value = columns[name][index, row] if name in columns else math.nan
    return None if np.isnan(value) else float(value)


def _array(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    """Turn a column's values into an array; NaN is unknown.

    Raises:
        InputError: a measure of the user's own has values of another type than it says.
    """
    try:
        return pa.array(values, field.type, from_pandas=True)
    except pa.ArrowException as error:
        raise InputError(
            f"measure {field.name!r} has values such as {values[0]!r}; expected type {field.type}, by its kind."
        ) from error
