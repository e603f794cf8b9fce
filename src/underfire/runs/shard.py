"""One shard of a run: its images read, attacked, judged beside the controls, and turned into rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks import BaseAttack, Goal
from underfire.attacks.benign import Benign, read_benign
from underfire.attacks.judge import Judgement, judge, judge_clean
from underfire.attacks.outcome import Outcome
from underfire.data import ImageData, Record
from underfire.errors import DataError
from underfire.runs.config import RunConfig
from underfire.runs.selection import Selection
from underfire.runs.store import WANTED, Findings, Store
from underfire.system import System, SystemView


@dataclass
class Plan:
    """What a run works with; ``attacks`` are in the order in which they run, the one that was asked for last, and
    ``inputs`` say what the results depend on beside the configuration: data, weights, and every setting in full."""

    config: RunConfig
    data: ImageData
    system: System
    selection: Selection
    attacks: dict[str, BaseAttack]
    inputs: dict[str, Any]
    store: Store

    @property
    def asked(self) -> BaseAttack:
        return list(self.attacks.values())[-1]


@dataclass(frozen=True)
class _Wanted:
    """What success means for the attacked images of a shard: a goal, its classes int64 N, and the target maps."""

    goal: Goal
    classes: Tensor
    maps: dict[str, Tensor]

    def seen(self, judged: Judgement, logits: Tensor) -> Judgement:
        """A control, whose maps were read for the images' own classes, with success by this goal; ``logits`` N x K."""
        return replace(
            judged,
            success=self.goal.reached(logits, self.classes).cpu(),
            confidence=self.goal.probability(logits, self.classes).cpu(),
        )


def attack_shard(
    run: Plan,
    view: SystemView,
    positions: list[int],
    size: int,
    advance: Callable[[int], None],
    reading: Callable[[str], None],
) -> Findings:
    """What one shard found, with its images written.

    Args:
        positions: of the shard's images among those that the run considered.
        size: images attacked at once.
        advance: called with the steps that are done, over all of the shard's images and attacks.
        reading: called before maps are read, which takes long where they are solved for, with a word for them.
    """
    selection, classifier = run.selection, run.system.classifier
    chosen = [selection.considered[position] for position in positions]
    batch = run.data.load(classifier.image_size, classifier.channels, chosen, classifier.resizing)
    if batch.unreadable:
        path, why = batch.unreadable[0]
        raise DataError(f"{path} could be read when the run began, and cannot be now: {why}")
    attacked = torch.tensor([selection.attacked[position] for position in positions])
    reading("benign maps")
    everyone = read_benign(run.system, batch.images, batch.labels, batch.ids)
    height, width = batch.images.shape[2:]
    masks = run.data.masks((height, width), chosen, classifier.resizing)
    writer = _Writer(run, batch.records, positions, masks)
    places, rest = attacked.nonzero().squeeze(1), (~attacked).nonzero().squeeze(1)
    if len(rest):
        others = judge_clean(everyone.take(rest))  # no goal is theirs: to leave one's class counts as one
        writer.write("clean", replace(others, success=others.untargeted_success), rest.tolist())
    if not len(places):
        return writer.findings()
    benign, rows = everyone.take(places), places.tolist()
    seed = run.config.seed
    wanted = _Wanted(run.asked.goal, *run.asked.resolve(benign, seed))
    found, done = [], 0
    for name, attack in run.attacks.items():
        each = len(rows) * attack.steps

        def progress(step: int, total: int, start: int = done, share: int = each) -> None:
            advance(start + share * step // total)

        classes, _, outcome = attack.run(view, benign, seed, size, progress, _checks(attack))
        reading(f"maps after {name}")
        found.append(
            (name, judge(run.system, benign, outcome.images, classes, attack.goal, wanted.maps), attack, outcome)
        )
        done += each
    if not run.asked.target_map.benign:
        writer.keep_wanted(wanted.maps, rows)
    writer.write("clean", wanted.seen(judge_clean(benign, wanted.maps), benign.logits), rows, wanted)
    reseeded = run.system.reseeded()
    if reseeded is not None:
        reading("reseeded maps")
        writer.write("reseeded", _control(reseeded, benign, wanted, benign.images), rows, wanted)
    # As large as what the attack did: the last one is the one that was asked for.
    reading("maps under noise")
    noise = run.asked.perturbation.noise(benign.images, outcome.images, benign.ids, seed)
    writer.write("noise", _control(run.system, benign, wanted, noise), rows, wanted)
    for name, judged, attack, outcome in found:
        writer.write(name, judged, rows, wanted, attack, outcome)
        writer.write_trace(name, rows, outcome)
    return writer.findings()


def _checks(attack: BaseAttack) -> int:
    """Every so many steps the trace is written: some forty times, whatever the attack's length."""
    return max(1, attack.steps // 40)


def _control(system: System, benign: Benign, wanted: _Wanted, images: Tensor) -> Judgement:
    """A control's judgement: maps read for the images' own classes, success by the goal of the attack beside it."""
    own = judge(system, benign, images, benign.labels, Goal(targeted=True), wanted.maps)
    return wanted.seen(own, system.classifier.logits(images))


@dataclass
class _Writer:
    """Collects the rows and maps of one shard, and writes its images."""

    run: Plan
    records: list[Record]
    positions: list[int]
    masks: Tensor | None

    def __post_init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.trace: list[dict[str, Any]] = []
        self.maps: dict[str, Tensor] = {}

    def findings(self) -> Findings:
        """Image by image in the data's order, so that the whole table's order does not depend on the shards."""
        place = {record.image_id: number for number, record in enumerate(self.records)}

        def order(row: dict[str, Any]) -> int:
            return place[row["image_id"]]

        return Findings(sorted(self.rows, key=order), sorted(self.trace, key=order), self.maps)

    def keep_wanted(self, maps: dict[str, Tensor], places: list[int]) -> None:
        """The maps N x h x w by interpreter that the attack is to make the images show, beside those that are shown."""
        for interpreter, values in maps.items():
            for value, place in zip(values.cpu(), places, strict=True):
                self.maps[f"{WANTED}/{interpreter}/{self.records[place].image_id}"] = value.clone()

    def write_trace(self, name: str, places: list[int], outcome: Outcome) -> None:
        trace = outcome.trace
        if trace is None:
            return
        success, distance = (trace.columns[column].tolist() for column in ("success", "map_l1"))
        for row, place in enumerate(places):
            noted = {"image_id": self.records[place].image_id, "attack": name}
            for index, (step, stage) in enumerate(zip(trace.steps, trace.stages, strict=True)):
                if not math.isnan(success[index][row]):
                    values = {"success": bool(success[index][row]), "map_l1": distance[index][row]}
                    self.trace.append({**noted, "stage": stage, "step": step, **values})

    def write(
        self,
        name: str,
        judged: Judgement,
        places: list[int],
        wanted: _Wanted | None = None,
        attack: BaseAttack | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        run = self.run
        seconds = outcome.seconds / len(places) if outcome else 0.0
        interpreters = "+".join(run.system.attacked) if attack is not None and attack.joint else ""
        targets = wanted.classes.tolist() if wanted is not None and wanted.goal.targeted else [None] * len(places)
        for row, place in enumerate(places):
            record = self.records[place]
            file = run.store.save_image(name, self.positions[place], record.image_id, judged.images[row])
            common = {
                "image_id": record.image_id,
                "path": record.path,
                "image_file": file,
                "label": record.label,
                "target": targets[row],
                "classifier": run.config.classifier,
                "attack": name,
                "perturbation": attack.perturbation.name if attack else "",
                "shaping": attack.shaping.name if attack else "",
                "attacked_interpreters": interpreters,
                "correct_before": run.selection.correct[self.positions[place]],
                "success": bool(judged.success[row]),
                "untargeted_success": bool(judged.untargeted_success[row]),
                "joint_success": False,
                "confidence": float(judged.confidence[row]),
                "ssim": float(judged.ssim[row]),
                "linf": float(judged.linf[row]),
                "l2": float(judged.l2[row]),
                "edge_energy": float(judged.edge_energy[row]),
                "steps": int(outcome.steps[row]) if outcome else 0,
                "forwards": int(outcome.forwards[row]) if outcome else 0,
                "backwards": int(outcome.backwards[row]) if outcome else 0,
                "seconds": seconds,
                "seed": run.config.seed,
            }
            for interpreter, distances in judged.distances.items():
                values = {column: float(value[row]) for column, value in distances.items()}
                found = judged.maps[interpreter][row].clone()
                pointing = self._pointing(found, place)
                self.rows.append({**common, "interpreter": interpreter, **values, **pointing})
                self.maps[f"{name}/{interpreter}/{record.image_id}"] = found

    def _pointing(self, found: Tensor, place: int) -> dict[str, Any]:
        """Where a map h x w points, next to the object's true mask."""
        if self.masks is None:
            return {}
        one, mask = found.unsqueeze(0), self.masks[place : place + 1]
        return {
            "map_mass_inside": float(metrics.mass_inside(one, mask)),
            "map_peak_inside": bool(metrics.peak_inside(one, mask)),
        }
