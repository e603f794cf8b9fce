"""Planning a run: open everything, select images, and settle its cells."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from underfire.attacks import Asked, BaseAttack, ClassMap, Experiment, ForeignAttack, GivenClass, Preset, arms_of
from underfire.attacks.measures import chosen_measures
from underfire.attacks.terms import Evading
from underfire.classifiers import Classifier
from underfire.data import ImageData
from underfire.runs.cells import Cell, cells_of
from underfire.runs.devices import find_device
from underfire.runs.evaded import kept_detectors
from underfire.runs.execution import Execution
from underfire.runs.identity import code_of, described, detectors_of, identities
from underfire.runs.inputs import Inputs
from underfire.runs.looking import Balanced
from underfire.runs.map_pool import read_pool
from underfire.runs.opened import Opened
from underfire.runs.plan import Plan
from underfire.runs.selection import Selection, check_selection, select
from underfire.runs.settings import NO_BASELINE, RunConfig
from underfire.runs.store import Store
from underfire.system import System


class Reporter(Protocol):
    """Receives the progress of a run: images looked at, steps done, and the maps that are being read."""

    def selecting(self, looked_at: int, total: int) -> None: ...
    def running(self, done: int, total: int) -> None: ...
    def reading(self, what: str) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def selecting(self, looked_at: int, total: int) -> None:
        pass

    def running(self, done: int, total: int) -> None:
        pass

    def reading(self, what: str) -> None:
        pass


def prepare(
    config: RunConfig,
    store: Store,
    execution: Execution,
    reporter: Reporter,
    opened: Opened,
    begun: dict[str, Any] | None = None,
) -> tuple[Plan, dict[str, Any]]:
    """Open everything, select images, and settle the cells.

    Args:
        config: what to run.
        store: the run's folder.
        execution: the settings that results do not depend on.
        reporter: hears how the selection goes on.
        opened: inputs that other runs opened already.
        begun: the content of ``run.json`` if another process has begun this run: its inputs are not hashed again.

    Returns:
        The plan, and what results depend on, as JSON values for ``run.json``.

    Raises:
        UnderfireError: the run is impossible; see the message.
    """
    inputs = opened.open(config, execution.device)
    if begun is None and store.read_run() and not store.overwrite:
        store.check_record(opened.depends(config, execution.device))  # before anything stored is believed
    data, classifier = inputs.data, inputs.classifier
    system = System(classifier, config.interpreters, str(config.variant), readers=config.readers)
    names = classifier.class_names or data.class_names
    presets = config.presets(names, inputs.classes)  # refused here if they are impossible
    preset = presets[0]  # they differ in eps alone
    excluded = _excluded(preset)
    selection = _selection(config, store, inputs, excluded, execution, reporter, opened)
    measures = chosen_measures(config.measures)
    if preset.map_rule.name == "class":
        reporter.reading("maps of classes")
        view = system.view(config.precision, selection.size)
        pool, rule = read_pool(system, view, data, selection, preset.class_rule, config.seed)
        presets = [each.replace(target_map=ClassMap(pool), target_class=rule) for each in presets]
    detectors = config.evaded if begun is None else kept_detectors(store, config.evaded)
    about = [(name,) for name in system.attacked] if config.each else [tuple(system.attacked)]
    asked: list[Asked] = []
    for attacked in about:
        part = system.only(attacked)
        knowing = [_knowing(preset, opened.evading(config, part, detectors)) for preset in presets]
        asked += [Asked(each.build(part), attacked, _control(config, each, part)) for each in knowing]
    experiment = Experiment(
        system,
        arms_of(system, asked),
        seed=config.seed,
        batch_size=execution.batch_size,
        memory=execution.memory,
        precision=config.precision,
        compile=config.compile,
        size=selection.size,
        measures=measures,
        noise_draws=config.noise_draws,
    )
    if begun is not None:
        cells = {values["label"]: Cell.from_dict(values) for values in begun["cells"]}
        return Plan(config, data, selection, experiment, cells, store), begun
    depends = {
        **opened.depends(config, execution.device),
        "selection_sha256": selection.sha256(),
        "precision": config.precision,
        **({"compile": True} if config.compile else {}),
        **code_hashes(config),
    }
    cells = cells_of(experiment.arms, system, depends, config.seed, measures, config.noise_draws)
    attacks = {arm.label: described(arm.attack) for arm in experiment.arms if arm.attack is not None}
    record = {
        **depends,
        **detector_hashes(config),
        "class_names": list(names) or None,
        "images": _counts(selection),
        "attacks": attacks,
        "interpreters": identities(system),
        "readers": list(system.readers),
        "cells": [cell.to_dict() for cell in cells.values()],
    }
    return Plan(config, data, selection, experiment, cells, store), record


def _selection(
    config: RunConfig,
    store: Store,
    inputs: Inputs,
    excluded: int | None,
    execution: Execution,
    reporter: Reporter,
    opened: Opened,
) -> Selection:
    """Select the images, or take the selection that the run began with, or that of an earlier run with the same."""
    stored = None if store.overwrite else store.read_selection()  # not that of a run which this one replaces
    data = inputs.data
    if stored is not None:
        check_selection(stored, data, sum(stored.attacked), config.count)
        return stored
    key = json.dumps([opened.key(config, execution.device), config.count, excluded, config.also_right, config.balance])
    key = f"{key} {config.seed if config.balance else None}"
    if key not in opened.selections:
        opened.selections[key] = select(
            data,
            inputs.classifier,
            config.count,
            excluded,
            lambda looked_at: reporter.selecting(looked_at, len(data)),
            Balanced(data, config.seed, excluded) if config.balance else None,
            also_right(config, execution.device),
        )
    return opened.selections[key]


def also_right(config: RunConfig, device: str) -> list[tuple[Classifier, ImageData]]:
    """Open the classifiers that must get an image right, too, each with the data in the order of its classes."""
    others = [dataclasses.replace(config, classifier=name, also_right=()) for name in config.also_right]
    opened = [each.open(find_device(device)) for each in others]
    return [(each.classifier, each.data) for each in opened]


def code_hashes(config: RunConfig) -> dict[str, Any]:
    """Return the hashes of the user's files, as an entry of run.json; empty if the run uses none."""
    found = code_of(config.to_dict())
    return {"code_sha256": found} if found else {}


def detector_hashes(config: RunConfig, places: Sequence[Path] | None = None) -> dict[str, Any]:
    """Return the hashes of the detectors in folders that the attack evades, as an entry of run.json, if there are any.

    No cell depends on them: an attack's description tells its detectors apart, and controls do not evade.

    Args:
        config: the run.
        places: where the detectors are read; in the configuration's folders if None.
    """
    found = detectors_of(config.evaded, places)
    return {"detectors_sha256": found} if found else {}


def _excluded(preset: Preset) -> int | None:
    """Return the target class, if there is one for all images: an image of that class cannot be attacked."""
    rule = preset.class_rule
    if preset.targeted and isinstance(rule, GivenClass) and isinstance(rule.target, int):
        return rule.target
    return None


def _knowing(preset: Preset, evading: Sequence[Evading]) -> Preset:
    """Add terms that evade detectors to those of a preset."""
    known = preset.evade if isinstance(preset.evade, tuple) else (preset.evade,)
    return preset.replace(evade=(*known, *evading)) if evading else preset


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


def _counts(selection: Selection) -> dict[str, Any]:
    return {
        "attacked": sum(selection.attacked),
        "considered": len(selection.considered),
        "correctly_classified": sum(selection.correct),
        "unreadable": [{"path": path, "why": why} for path, why in selection.unreadable],
        "unusable": [{"image_id": image_id, "why": why} for image_id, why in selection.unusable],
    }
