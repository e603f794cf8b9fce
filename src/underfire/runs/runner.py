"""Running one attack over a data set: select, attack, judge and write, shard by shard."""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from underfire.attacks import BaseAttack, ClassMap, ForeignAttack, GivenClass, Preset
from underfire.attacks.base import default_batch_size
from underfire.checkpoints import state_hash
from underfire.errors import InputError
from underfire.runs.config import NO_BASELINE, RunConfig
from underfire.runs.map_pool import read_pool
from underfire.runs.selection import select
from underfire.runs.shard import Plan, attack_shard
from underfire.runs.store import Store
from underfire.runs.summary import summarise, with_joint_success
from underfire.system import System

PACKAGES = ("underfire", "torch", "numpy", "scipy", "pillow", "kornia")


class Reporter(Protocol):
    """Hears how a run goes on: images looked at, steps done, and which maps are being read in between."""

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
    device: str = "auto",
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Attack the first ``config.count`` correctly classified images, with the controls clean, noise, the attack
    on the prediction alone, and reseeded where an interpreter draws random numbers.

    Args:
        config: what to run.
        folder: where everything is written; see ``Store``.
        resume: go on with the run that the folder holds; at most one shard is done again.
        overwrite: replace the run that the folder holds, once it is clear that the new one can begin.
        batch_size: images at once, and per shard of a new run; it does not change results.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``.

    Returns:
        The content of ``summary.json``.

    Raises:
        UnderfireError: one readable paragraph. Finished shards stay.
    """
    reporter = reporter or _Silent()
    defaults = RunConfig.model_construct().model_dump(mode="json")
    idle = ("eps",) if config.eps is None else ()  # earlier versions wrote one down for C&W and StAdv
    store = Store(folder, config.model_dump(mode="json"), resume, overwrite, defaults, idle)
    if store.finished:
        return store.summary()
    with store.working():
        run = _prepare(config, store, device, reporter)
        store.begin(run.inputs)
        view = run.system.view(config.precision, run.selection.size)
        size = batch_size or _default_size(run)
        shards = run.selection.shards(store.shard_size(size))
        work = [sum(run.selection.attacked[position] for position in shard) for shard in shards]
        each = sum(attack.steps for attack in run.attacks.values())
        for index, positions in enumerate(shards):
            done, total = each * sum(work[:index]), each * sum(work)
            if not store.has_shard(index):

                def advance(part: int, done: int = done, total: int = total) -> None:
                    reporter.running(done + part, total)

                store.write_shard(index, attack_shard(run, view, positions, size, advance, reporter.reading))
            reporter.running(done + each * work[index], total)
        return _finish(run, len(shards))


def _prepare(config: RunConfig, store: Store, device: str, reporter: Reporter) -> Plan:
    place = find_device(device)
    inputs = config.open(place)
    data, classifier = inputs.data, inputs.classifier
    system = System(classifier, config.interpreters, config.preset, readers=config.readers)
    names = classifier.class_names or data.class_names
    preset = config.preset_for(names, inputs.classes)  # refused here what cannot be
    rule = preset.target_class
    excluded = (
        rule.target if isinstance(rule, GivenClass) and isinstance(rule.target, int) and preset.targeted else None
    )
    selection = select(data, classifier, config.count, excluded, lambda n: reporter.selecting(n, len(data)))
    if config.target_map == "class":
        reporter.reading("maps of classes")
        pool, classes = read_pool(system, data, selection, preset.target_class, config.seed)
        preset = replace(preset, target_map=ClassMap(pool), target_class=classes)
    attacks = _attacks(config, preset, system)
    read = {
        "classifier_sha256": state_hash(classifier.module),
        "preparation": classifier.preparation(),
        "data_sha256": data.fingerprint(),
        "attacks": {name: repr(attack) for name, attack in attacks.items()},
        "interpreters": {name: part.identity(classifier) for name, part in system.interpreters.items()},
    }
    return Plan(config, data, system, selection, attacks, read, store)


def find_device(name: str) -> torch.device:
    """The device called ``name``; a GPU where there is one for ``auto``. Raises InputError where it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        there = ", ".join(("auto", "cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))))
        seen = "" if torch.cuda.is_available() else " (PyTorch sees no GPU here)"
        raise InputError(f"device is {name!r}; expected one of {there}{seen}.") from error
    return device


def _attacks(config: RunConfig, preset: Preset, system: System) -> dict[str, BaseAttack]:
    """The attack that was asked for, after its prediction-only control.

    A joint attack's control has the same start and as many steps, unless the configuration names a baseline from
    another library, or none. The control of ``bim``, which is such a control itself, is PGD with its random start.
    """
    asked = preset.build(system)
    if config.baseline == NO_BASELINE:
        return {asked.name: asked}
    if config.baseline is not None:
        other = ForeignAttack(
            config.baseline,
            eps=preset.eps,
            iterations=asked.steps,
            goal=asked.goal,
            target_class=asked.target_class,
            target_map=asked.target_map,
        )
        return {other.name: other, asked.name: asked}
    if asked.joint:
        control, name = preset.control(), preset.perturbation_name
    elif asked.name == "bim":
        control, name = replace(preset, name="pgd", perturbation=None), "pgd"
    else:
        return {asked.name: asked}
    name = "pgd" if name == "bim" else name
    return {name: replace(control.build(system), name=name), asked.name: asked}


def _default_size(run: Plan) -> int:
    classifier = run.system.classifier
    height, width = classifier.image_size or (224, 224)
    return default_batch_size(torch.empty(1, 1, height, width, device=classifier.device))


def _finish(run: Plan, shards: int) -> dict[str, Any]:
    selection = run.selection
    table, trace, maps = run.store.read_shards(shards)
    table, thresholds = with_joint_success(table, run.asked.target_map.benign)
    images = {
        "attacked": sum(selection.attacked),
        "considered": len(selection.considered),
        "correctly_classified": sum(selection.correct),
        "unreadable": [{"path": path, "why": why} for path, why in selection.unreadable],
    }
    control = next((name for name in run.attacks if name != run.asked.name), None)
    summary = summarise(table, thresholds, run.asked.name, control, images, run.system.readers)
    run.store.finish(table, trace, maps, _masks(run), summary, _record(run))
    return summary


def _masks(run: Plan) -> dict[str, Tensor]:
    """The objects' true masks, bool H x W by image id, at the size of the images; empty where the data have none."""
    selection, classifier = run.selection, run.system.classifier
    masks = run.data.masks(classifier.image_size, selection.considered, classifier.resizing)
    ids = [run.data.record(index).image_id for index in selection.considered]
    return {} if masks is None else dict(zip(ids, masks, strict=True))


def _record(run: Plan) -> dict[str, Any]:
    """What ``run.json`` holds: the configuration, and everything around it that results may depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    device = run.system.classifier.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "configuration": run.config.model_dump(mode="json"),
        **run.inputs,
        "class_names": list(run.system.classifier.class_names or run.data.class_names) or None,
        "device": {"type": device.type, "name": name, "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), **versions},
        "torch_build": torch.__config__.show().splitlines(),
    }
