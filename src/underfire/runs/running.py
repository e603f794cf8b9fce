"""Running attacks over a data set: select images, attack and judge them shard by shard, and save the results."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import torch

from underfire.attacks import Asked, BaseAttack, ClassMap, Experiment, ForeignAttack, GivenClass, Preset, arms_of
from underfire.attacks.measures import chosen_measures
from underfire.batching import depends_on_batch
from underfire.checkpoints import state_hash
from underfire.errors import UnderfireWarning
from underfire.runs.cells import cells_of
from underfire.runs.devices import find_device
from underfire.runs.differences import differences
from underfire.runs.environment import environment
from underfire.runs.identity import code_of, described
from underfire.runs.looking import Balanced
from underfire.runs.map_pool import read_pool
from underfire.runs.results import current_summary, write_results
from underfire.runs.run import Run
from underfire.runs.selection import Selection, select
from underfire.runs.settings import NO_BASELINE, RunConfig
from underfire.runs.shards import Plan, attack_shard, count_steps
from underfire.runs.store import Store
from underfire.system import System


class Reporter(Protocol):
    """Receives the progress of a run: images looked at, steps done, and the maps that are being read."""

    def selecting(self, looked_at: int, total: int) -> None: ...
    def running(self, done: int, total: int) -> None: ...
    def reading(self, what: str) -> None: ...


class _Silent:
    def selecting(self, looked_at: int, total: int) -> None:
        pass

    def running(self, done: int, total: int) -> None:
        pass

    def reading(self, what: str) -> None:
        pass


@torch.inference_mode(False)
def run_attack(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    batch_size: int | None = None,
    memory: int | None = None,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Attack the first ``config.count`` correctly classified images, beside the controls.

    Controls are the clean images, random noise, the attack on the prediction alone, and the clean images read with
    other random numbers, if an interpreter draws any.

    Args:
        config: what to run.
        folder: where everything is written; see ``Store`` and ``Run``.
        resume: go on with the run that the folder holds; at most one shard is done again.
        overwrite: replace the run that the folder holds. It is removed once every cell of the new run has a complete
            shard; a new run that ends before gives the folder back to it.
        batch_size: images at once, and per shard of a new run; it does not change results. On a GPU
            their last bits depend on it, so that a resumed run keeps the batch size that it began with. If None, as
            many images as suit the device and fit into its memory.
        memory: the largest number of bytes that the process shall have on the device, for a ``batch_size`` of None.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.
        reporter: hears how the run goes on.

    Returns:
        The content of ``summary.json``.

    Raises:
        UnderfireError: one readable paragraph. Finished shards stay.
    """
    reporter = reporter or _Silent()
    store = Store(folder, config.to_dict(), resume, overwrite, _changed)
    if store.finished:
        store.check_record(_code(config), known_only=True)
        return current_summary(Run(folder), store.summary())
    with store.working():
        plan, record = _prepare(config, store, device, batch_size, reporter, memory)
        store.begin(record)
        size = store.shard_size(plan.experiment.batch_size)
        if depends_on_batch(plan.experiment.system.classifier.device):
            plan.experiment.batch_size = _same_batch_size(size, batch_size)
        shards = plan.selection.shards(size)
        store.update_run(shards=len(shards))
        work = list(count_steps(plan, shards))
        total = sum(work)
        for index, (positions, before) in enumerate(zip(shards, accumulate([0, *work]), strict=False)):

            def advance(part: int, before: int = before) -> None:
                reporter.running(before + part, total)

            attack_shard(plan, index, positions, advance, reporter.reading)
            store.keep_new()
            reporter.running(before + work[index], total)
        notes = list(plan.experiment.system.classifier.notes)
        store.update_run(classifier_notes=notes, **environment(plan.experiment.view.prepared, config.precision))
        summary = write_results(Run(folder, finished=False))
        store.update_run(finished=True)
        return summary


def _same_batch_size(begun_with: int, asked: int | None) -> int:
    """Return the batch size that a run began with: on a GPU the last bits of an image's result depend on it."""
    if asked not in (None, begun_with):
        warnings.warn(
            f"this run began with a batch size of {begun_with} and goes on with it: on a GPU, results with {asked} "
            "would differ in their last bits.",
            UnderfireWarning,
            stacklevel=2,
        )
    return begun_with


def _changed(held: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Compare configurations; settings that an earlier version did not have count with their defaults."""
    if now["eps"] is None:  # earlier versions wrote a radius down for attacks without a ball, too
        held = {name: value for name, value in held.items() if name != "eps"}
    return differences(RunConfig.from_values(held).to_dict(), dict(now))


def _prepare(
    config: RunConfig,
    store: Store,
    device: str,
    batch_size: int | None,
    reporter: Reporter,
    memory: int | None = None,
) -> tuple[Plan, dict[str, Any]]:
    """Open everything, select images, and settle the cells. Returns the plan, and what results depend on."""
    inputs = config.open(find_device(device))
    data, classifier = inputs.data, inputs.classifier
    system = System(classifier, config.interpreters, str(config.variant), readers=config.readers)
    names = classifier.class_names or data.class_names
    presets = config.presets(names, inputs.classes)  # refused here if they are impossible
    preset = presets[0]  # they differ in eps alone
    excluded = _excluded(preset)
    selection = select(
        data,
        classifier,
        config.count,
        excluded,
        lambda looked_at: reporter.selecting(looked_at, len(data)),
        Balanced(data, config.seed, excluded) if config.balance else None,
    )
    measures = chosen_measures(config.measures)
    if preset.map_rule.name == "class":
        reporter.reading("maps of classes")
        view = system.view(config.precision, selection.size)
        pool, rule = read_pool(system, view, data, selection, preset.class_rule, config.seed)
        presets = [each.replace(target_map=ClassMap(pool), target_class=rule) for each in presets]
    about = [(name,) for name in system.attacked] if config.each else [tuple(system.attacked)]
    asked = [
        Asked(preset.build(part), about_names, _control(config, preset, part))
        for about_names, part in ((each, system.only(each)) for each in about)
        for preset in presets
    ]
    experiment = Experiment(
        system,
        arms_of(system, asked),
        seed=config.seed,
        batch_size=batch_size,
        memory=memory,
        precision=config.precision,
        compile=config.compile,
        size=selection.size,
        measures=measures,
        noise_draws=config.noise_draws,
    )
    depends = {
        "data_sha256": data.fingerprint(),
        "selection_sha256": _selection_hash(selection),
        "classifier_sha256": classifier.sha256(),
        "weights_sha256": state_hash(classifier.module),
        "preparation": classifier.preparation(),
        "precision": config.precision,
        **({"compile": True} if config.compile else {}),
        **_code(config),
    }
    cells = cells_of(experiment.arms, system, depends, config.seed, measures, config.noise_draws)
    attacks = {arm.label: described(arm.attack) for arm in experiment.arms if arm.attack is not None}
    record = {
        **depends,
        "class_names": list(names) or None,
        "images": _counts(selection),
        "attacks": attacks,
        "interpreters": {name: described(part.identity(classifier)) for name, part in system.interpreters.items()},
        "readers": list(system.readers),
        "cells": [cell.to_dict() for cell in cells.values()],
    }
    return Plan(config, data, selection, experiment, cells, store), record


def _code(config: RunConfig) -> dict[str, Any]:
    """Return the hashes of the user's files, as an entry of run.json; empty if the run uses none."""
    found = code_of(config.to_dict())
    return {"code_sha256": found} if found else {}


def _excluded(preset: Preset) -> int | None:
    """Return the target class, if there is one for all images: an image of that class cannot be attacked."""
    rule = preset.class_rule
    if preset.targeted and isinstance(rule, GivenClass) and isinstance(rule.target, int):
        return rule.target
    return None


def _control(config: RunConfig, preset: Preset, system: System) -> BaseAttack | None:
    """Make the attack on the prediction alone that stands beside the one asked for.

    It has the same start and as many steps, unless the configuration names a baseline of another library, or none.
    """
    if config.baseline == NO_BASELINE:
        return None
    if config.baseline is not None:
        asked = preset.build(system)
        return ForeignAttack(
            config.baseline,
            eps=getattr(preset.made, "eps", None),
            iterations=asked.steps,
            goal=asked.goal,
            target_class=asked.target_class,
            target_map=asked.target_map,
        )
    return preset.control().build(system) if preset.has_control else None


def _selection_hash(selection: Selection) -> str:
    text = json.dumps([selection.considered, selection.correct, selection.attacked])
    return hashlib.sha256(text.encode()).hexdigest()


def _counts(selection: Selection) -> dict[str, Any]:
    return {
        "attacked": sum(selection.attacked),
        "considered": len(selection.considered),
        "correctly_classified": sum(selection.correct),
        "unreadable": [{"path": path, "why": why} for path, why in selection.unreadable],
    }
