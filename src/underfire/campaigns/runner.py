"""Running one attack over a data set: select, attack, judge and write, shard by shard."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from underfire.attacks import Attack, GivenClass, Preset
from underfire.attacks.attack import default_batch_size
from underfire.attacks.benign import Benign, read_benign
from underfire.attacks.judge import Judgement, judge, noise_images
from underfire.attacks.loop import Outcome
from underfire.campaigns.config import RunConfig
from underfire.campaigns.selection import Selection, select
from underfire.campaigns.store import Store
from underfire.campaigns.summary import summarise, with_joint_success
from underfire.classifiers import Classifier, load
from underfire.data import ImageData, Record, open_data
from underfire.errors import InputError
from underfire.interpreters import create
from underfire.system import System, SystemView
from underfire.zoo.weights import state_hash

CONTROLS = ("clean", "noise", "pgd")
PACKAGES = ("underfire", "torch", "numpy", "scipy", "pillow", "kornia")


class Reporter(Protocol):
    """Hears how a run goes on."""

    def selecting(self, looked_at: int, total: int) -> None: ...
    def running(self, done: int, total: int) -> None: ...


class _Silent:
    def selecting(self, looked_at: int, total: int) -> None:
        pass

    def running(self, done: int, total: int) -> None:
        pass


@dataclass
class Prepared:
    """What a run works with."""

    config: RunConfig
    data: ImageData
    system: System
    selection: Selection
    attacks: dict[str, Attack]
    store: Store


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
    """Attack the first ``config.count`` correctly classified images, with the controls clean, noise and pgd.

    Args:
        config: what to run.
        folder: where everything is written; see :class:`~underfire.campaigns.store.Store`.
        resume: go on with the run that the folder holds; at most one shard is done again.
        overwrite: replace the run that the folder holds.
        batch_size: images at once, and per shard of a new run; it does not change results.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Returns:
        The content of ``summary.json``.

    Raises:
        UnderfireError: one readable paragraph. Finished shards stay.
    """
    reporter = reporter or _Silent()
    run = _prepare(config, folder, resume, overwrite, device, reporter)
    if run.store.finished:
        import json

        finished: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        return finished
    view = run.system.view(config.precision)
    size = batch_size or _default_size(run)
    shards = run.selection.shards(run.store.shard_size(size))
    work = [sum(run.selection.attacked[position] for position in shard) for shard in shards]
    each = sum(attack.steps for attack in run.attacks.values())
    for index, positions in enumerate(shards):
        done, total = each * sum(work[:index]), each * sum(work)
        if not run.store.has_shard(index):

            def advance(part: int, done: int = done, total: int = total) -> None:
                reporter.running(done + part, total)

            run.store.write_shard(index, *_shard(run, view, positions, size, advance))
        reporter.running(done + each * work[index], total)
    return _finish(run, len(shards))


def _prepare(
    config: RunConfig, folder: Path, resume: bool, overwrite: bool, device: str, reporter: Reporter
) -> Prepared:
    data = open_data(config.data)
    classifier = load(config.classifier)
    classifier.module.to(_device(device))
    system = System(classifier, [create(name) for name in config.interpreters])
    store = Store(folder, config.model_dump(mode="json"), resume, overwrite)
    classes = _class_count(classifier, data)
    preset = config.preset_for(classifier, classes)
    rule = preset.target_class
    excluded = rule.target if isinstance(rule, GivenClass) and isinstance(rule.target, int) and preset.targeted else None
    selection = select(data, classifier, config.count, excluded, lambda n: reporter.selecting(n, len(data)))
    return Prepared(config, data, system, selection, _attacks(preset, system), store)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device is {name!r}, which this machine does not offer: {error}") from error
    return device


def _class_count(classifier: Classifier, data: ImageData) -> int:
    if classifier.class_names:
        return len(classifier.class_names)
    batch = next(data.batches(classifier.image_size, classifier.channels, 8))
    return int(classifier.logits(batch.images).shape[1]) if batch.records else len(data.class_names)


def _attacks(preset: Preset, system: System) -> dict[str, Attack]:
    """The attack that was asked for, after its prediction-only control with the same start and as many steps."""
    asked = preset.build(system)
    if asked.joint:
        control = replace(preset.control().build(system), name="pgd")
        return {"pgd": control, asked.name: asked}
    return {asked.name: asked}


def _default_size(run: Prepared) -> int:
    classifier = run.system.classifier
    height, width = classifier.image_size or (224, 224)
    return default_batch_size(torch.empty(1, 1, height, width, device=classifier.device))


def _shard(
    run: Prepared, view: SystemView, positions: list[int], size: int, advance: Callable[[int], None]
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Rows and maps of one shard, with its images written."""
    selection, classifier = run.selection, run.system.classifier
    indices = [selection.considered[position] for position in positions]
    batch = run.data.load(classifier.image_size, classifier.channels, indices)
    attacked = torch.tensor([selection.attacked[position] for position in positions])
    everyone = read_benign(run.system, batch.images, batch.labels, batch.ids)
    benign = everyone.take(attacked.nonzero().squeeze(1))
    seed, eps = run.config.seed, run.config.eps
    writer = _Writer(run, batch.records, positions)
    rest = (~attacked).nonzero().squeeze(1)
    if len(rest):
        writer.write("clean", _control(run.system, everyone.take(rest), None, {}), rest.tolist())
    if not len(benign.images):
        return writer.rows, writer.maps
    places = attacked.nonzero().squeeze(1).tolist()
    done = 0
    asked = list(run.attacks.values())[-1]
    classes, wanted = asked.resolve(benign, seed)
    writer.write("clean", _control(run.system, benign, (asked, classes), wanted), places)
    writer.write("noise", _control(run.system, benign, (asked, classes), wanted, noise_images(benign, eps, seed)), places)
    for name, attack in run.attacks.items():
        each = len(benign.images) * attack.steps

        def progress(step: int, total: int, start: int = done, share: int = each) -> None:
            advance(start + share * step // total)

        _, maps, outcome = attack.run(view, benign, seed, size, progress)
        judged = judge(run.system, benign, outcome.images, classes, attack.goal, maps)
        writer.write(name, judged, places, attack, classes, outcome)
        done += each
    return writer.rows, writer.maps


def _control(
    system: System,
    benign: Benign,
    asked: tuple[Attack, Tensor] | None,
    wanted: dict[str, Tensor],
    images: Tensor | None = None,
) -> Judgement:
    """A control's judgement: maps read for the images' own classes, success by the goal of the attack it accompanies."""
    from underfire.attacks import Goal

    images = benign.images if images is None else images
    own = judge(system, benign, images, benign.labels, Goal(targeted=True), wanted or None)
    if asked is None:
        return replace(own, success=own.untargeted_success)
    attack, classes = asked
    logits = system.classifier.logits(images)
    return replace(
        own,
        success=attack.goal.reached(logits, classes).cpu(),
        confidence=attack.goal.probability(logits, classes).cpu(),
    )


@dataclass
class _Writer:
    """Collects the rows and maps of one shard, and writes its images."""

    run: Prepared
    records: list[Record]
    positions: list[int]

    def __post_init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.maps: dict[str, Tensor] = {}

    def write(
        self,
        name: str,
        judged: Judgement,
        places: list[int],
        attack: Attack | None = None,
        classes: Tensor | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        run = self.run
        seconds = outcome.seconds / len(places) if outcome else 0.0
        interpreters = "+".join(run.system.interpreters) if attack is not None and attack.joint else ""
        for row, place in enumerate(places):
            record = self.records[place]
            file = run.store.save_image(name, self.positions[place], record.image_id, judged.images[row])
            target = int(classes[row]) if attack is not None and classes is not None and attack.goal.targeted else None
            common = {
                "image_id": record.image_id,
                "path": record.path,
                "image_file": file,
                "label": record.label,
                "target": target,
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
                "steps": int(outcome.steps[row]) if outcome else 0,
                "forwards": int(outcome.forwards[row]) if outcome else 0,
                "backwards": int(outcome.backwards[row]) if outcome else 0,
                "seconds": seconds,
                "seed": run.config.seed,
            }
            for interpreter, distances in judged.distances.items():
                values = {column: float(value[row]) for column, value in distances.items()}
                self.rows.append({**common, "interpreter": interpreter, **values})
                self.maps[f"{name}/{interpreter}/{record.image_id}"] = judged.maps[interpreter][row].clone()


def _finish(run: Prepared, shards: int) -> dict[str, Any]:
    selection = run.selection
    table, thresholds = with_joint_success(run.store.read_shards(shards)[0])
    maps = run.store.read_shards(shards)[1]
    images = {
        "attacked": sum(selection.attacked),
        "considered": len(selection.considered),
        "correctly_classified": sum(selection.correct),
        "unreadable": [{"path": path, "why": why} for path, why in selection.unreadable],
    }
    asked = list(run.attacks)[-1]
    summary = summarise(table, thresholds, asked, images)
    run.store.finish(table, maps, summary, _record(run))
    return summary


def _record(run: Prepared) -> dict[str, Any]:
    """What ``run.json`` holds: the configuration, and everything around it that results may depend on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    classifier = run.system.classifier
    device = classifier.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "configuration": run.config.model_dump(mode="json"),
        "attacks": {name: repr(attack) for name, attack in run.attacks.items()},
        "interpreters": {name: repr(interpreter) for name, interpreter in run.system.interpreters.items()},
        "classifier_sha256": state_hash(classifier.module),
        "data_sha256": run.data.fingerprint(),
        "device": {"type": device.type, "name": name, "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), **versions},
        "torch_build": torch.__config__.show().splitlines(),
    }
