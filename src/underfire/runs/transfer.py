"""Transfer: the images of a finished attack, read by other classifiers and interpreters, without attacking again.

A transfer is an experiment like any other, whose attacks bring their images with them. So each classifier that reads
gets an ordinary run folder, with the same cells, controls, limits and tables as the run of the attack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from underfire.arguments import whole_number
from underfire.attacks.experiment import Experiment
from underfire.attacks.measures import chosen_measures
from underfire.attacks.noise import NOISE_DRAWS
from underfire.checkpoints import state_hash
from underfire.classifiers import Classifier, load
from underfire.errors import DataError, InputError, StoreError
from underfire.files import path_of
from underfire.interpreters import Interpreter, named
from underfire.memory import bytes_of
from underfire.runs.cells import cells_of
from underfire.runs.devices import find_device
from underfire.runs.finished import is_whole
from underfire.runs.identity import identities
from underfire.runs.inputs import InputSettings
from underfire.runs.places import folder_name
from underfire.runs.plan import Plan
from underfire.runs.planning import Reporter, Silent
from underfire.runs.run import Run
from underfire.runs.selection import logits_of, select
from underfire.runs.source import Source
from underfire.runs.store import Store
from underfire.runs.transferred import Transfer, write_tables
from underfire.runs.work import Work
from underfire.settings import settings_of
from underfire.system import System

_SHARED = ("data", "classifier", "class_map", "labels")
OWN_SETTINGS = tuple(name for name in settings_of(InputSettings) if name not in _SHARED)
"""Settings of a run that describe its own classifier or data, and no other ones."""


@torch.inference_mode(False)
def transfer(
    run: Run | Path | str,
    classifier: Classifier | str | Sequence[Classifier | str] | None = None,
    interpreters: Interpreter | str | Sequence[Interpreter | str] | Mapping[str, Interpreter] | None = None,
    folder: Path | str | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    same_classes: bool = False,
    batch_size: int | None = None,
    memory: int | str | None = None,
    device: str = "auto",
    reporters: Callable[[str], Reporter] | None = None,
) -> Transfer:
    """Read the saved images of a finished run with other classifiers and interpreters. Nothing is attacked.

    Every attack and control of the run is read: for each eps, and the attack on the prediction alone. The limit of
    "kept" is that of the reading classifier and interpreter, from noise on the clean images that this classifier gets
    right; only these images count. The saved 8-bit images go through the other classifier's own preparation, which
    resizes them if it takes another size.

    Args:
        run: the finished run, or its folder.
        classifier: one or more classifiers that read, by name or as objects; the run's own if None.
        interpreters: the interpreters that read; those of the run, attacked or not, if None.
        folder: where the results are written: one run folder for each classifier, and ``transfer.csv``. If None, a
            temporary folder that lasts as long as the result and its runs.
        resume: go on with what the folder holds.
        overwrite: replace an earlier transfer in the folder.
        same_classes: class N means the same to all classifiers, although their names of it differ.
        batch_size, memory, device: as in ``run_attack``.
        reporters: makes the object that hears how the reading by one classifier goes on, from the classifier's name.

    Returns:
        The results; ``matrix()`` is the table of [ADV2] table 9 and [EDGE] table IV.

    Raises:
        InputError: the classes of two classifiers do not correspond, or a name is unknown.
        DataError: another classifier gets none of the images right when clean.
        StoreError: the run is not finished, or the folder cannot be used.
    """
    memory = bytes_of(memory)
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, 1, ", or None for what suits the device")
    source = Source(run if isinstance(run, Run) else Run(path_of("run", run)))
    asked = source.interpreters if interpreters is None else interpreters
    if isinstance(asked, str | Interpreter):
        asked = [asked]
    made = dict(asked) if isinstance(asked, Mapping) else named(asked, source.variant)
    if not made:
        raise InputError("interpreters is empty; a transfer needs at least one.")
    own = str(source.run.configuration["classifier"])
    given = [own] if classifier is None else [classifier] if isinstance(classifier, str | Classifier) else classifier
    readers = _readers(source, given, find_device(device))
    for name, reader in readers.items():
        _check_classes(source, name, reader, same_classes)
    temporary = TemporaryDirectory(prefix="underfire-transfer-") if folder is None else None
    place = path_of("folder", temporary.name if temporary else folder).expanduser()
    if (place / "run.json").exists() or (place / "campaign.json").exists():
        raise StoreError(f"output folder {place} holds a run or a campaign: choose another folder for the transfer.")
    runs: dict[str, Run] = {}
    for name, reader in readers.items():
        system = _reading(System(reader, made))
        store = Store(place / folder_name(name), _configuration(source, name, list(made)), resume, overwrite)
        reading = _Reading(source, name, system, store)
        runs[name] = reading.done(batch_size, memory, None if reporters is None else reporters(name))
        runs[name].files.keeps = temporary
    found = Transfer(source.run, runs)
    write_tables(found, place)
    return found


def _readers(source: Source, given: Sequence[Classifier | str], device: torch.device) -> dict[str, Classifier]:
    """Load the classifiers, by name.

    Raises:
        InputError: there is none, or two have one name.
        StoreError: the run's own classifier has other weights than it had in the run.
    """
    found: dict[str, Classifier] = {}
    for each in given:
        name = each if isinstance(each, str) else each.name
        if name in found:
            raise InputError(f"classifier has {name!r} twice; give each once, and objects different names.")
        found[name] = _load(source, each, device) if isinstance(each, str) else each
    if not found:
        raise InputError("classifier is empty; expected at least one, or None for the run's own.")
    return found


def _load(source: Source, name: str, device: torch.device) -> Classifier:
    held, record = source.run.configuration, source.run.record
    if name != held["classifier"]:
        classifier = load(name)
        classifier.module.to(device)
        return classifier
    values = {key: held[key] for key in settings_of(InputSettings) if key in held}
    classifier = InputSettings.from_values(values).load_classifier(device)
    if record.get("weights_sha256") not in (None, state_hash(classifier.module)):
        raise StoreError(
            f"{name} has other weights than it had in the run in {source.run.path}: it cannot stand for the classifier "
            "that was attacked. Give it under another name, such as file.py:function."
        )
    return classifier


def _check_classes(source: Source, name: str, classifier: Classifier, same: bool) -> None:
    """Raise InputError if the classes of a classifier do not correspond to those of the run."""
    some = source.clean.load(classifier.image_size, classifier.channels, [0], classifier.resizing)
    if some.unreadable:
        raise InputError(f"{name} cannot take the images of the run in {source.run.path}: {some.unreadable[0][1]}")
    classes = logits_of(classifier, some.images.to(classifier.device)).shape[1]
    if classes != source.classes:
        raise InputError(
            f"{name} has {classes} classes, and the run in {source.run.path} has {source.classes}: its classes do not "
            "correspond. Take a classifier for the same classes."
        )
    ours, theirs = source.class_names, classifier.class_names
    if same or not ours or not theirs:
        return
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if _plain(one) != _plain(other):
            raise InputError(
                f"class {number} is {one!r} in the run in {source.run.path}, and {other!r} for {name}: the classes do "
                "not correspond. If class numbers mean the same to both, and the names are only spelled differently, "
                "say so with --same-classes (same_classes=True)."
            )


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _reading(system: System) -> System:
    """Return the system with interpreters that only read: a transfer differentiates nothing."""
    reading = system.only(())
    reading.interpreters = system.interpreters
    return reading


def _configuration(source: Source, name: str, interpreters: list[str]) -> dict[str, Any]:
    """Make the configuration of one classifier's reading: that of the run, with what reads in place of its own."""
    held = dict(source.run.configuration)
    if name != held["classifier"]:
        held |= {key: None for key in OWN_SETTINGS if key in held}
    return held | {"classifier": name, "interpreters": interpreters, "readers": []}


@dataclass(frozen=True)
class _Described:
    """The settings that rows of results hold."""

    classifier: str
    seed: int


class _Reading:
    """The reading of a run's images by one classifier and its interpreters."""

    def __init__(self, source: Source, name: str, system: System, store: Store) -> None:
        self.source, self.name, self.system, self.store = source, name, system, store

    def done(self, batch_size: int | None, memory: int | None, reporter: Reporter | None) -> Run:
        """Read whatever is not read yet, or is damaged, write the results, and return the finished run."""
        store, depends = self.store, self._depends()
        if store.finished:
            store.check_record(depends, known_only=True)
            if is_whole(store, lambda: depends):
                return Run(store.folder)
        with store.working():
            plan, record = self._plan(depends, batch_size, memory, reporter or Silent())
            store.begin(depends | record)
            store.write_selection(plan.selection)
            work = Work.begun(plan, reporter or Silent())
            for index in range(len(work.shards)):
                work.attack(index)
            work.finish("float32")
        return Run(store.folder)

    def _depends(self) -> dict[str, Any]:
        source, classifier = self.source, self.system.classifier
        return {
            "transfer": source.identity,
            "data_sha256": source.identity["images_sha256"]["clean"],
            "classifier_sha256": classifier.sha256(),
            "weights_sha256": state_hash(classifier.module),
            "preparation": classifier.preparation(),
            "precision": "float32",
            "interpreters": identities(self.system),
        }

    def _plan(
        self, depends: dict[str, Any], batch_size: int | None, memory: int | None, reporter: Reporter
    ) -> tuple[Plan, dict[str, Any]]:
        """Select the images that the classifier gets right, and settle the cells."""
        source, system, classifier = self.source, self.system, self.system.classifier
        data = source.clean
        try:
            selection = select(data, classifier, None, on_batch=lambda seen: reporter.selecting(seen, len(data)))
        except DataError as error:
            raise DataError(f"{self.name} cannot read the run in {source.run.path}: {error}") from error
        measures = chosen_measures()
        draws = int(source.run.configuration.get("noise_draws") or NOISE_DRAWS)
        experiment = Experiment(
            system,
            source.arms(system, classifier),
            seed=source.seed,
            batch_size=batch_size,
            memory=memory,
            size=selection.size,
            measures=measures,
            noise_draws=draws,
        )
        cells = source.described(cells_of(experiment.arms, system, depends, source.seed, measures, draws))
        record = {
            "selection_sha256": selection.sha256(),
            "class_names": source.class_names,
            "images": {
                "attacked": sum(selection.attacked),
                "considered": len(selection.considered),
                "correctly_classified": sum(selection.correct),
                "unreadable": [],
            },
            "attacks": source.run.record.get("attacks", {}),
            "readers": [],
            "cells": [cell.to_dict() for cell in cells.values()],
        }
        settings = _Described(self.name, source.seed)
        return Plan(settings, data, selection, experiment, cells, self.store), record
