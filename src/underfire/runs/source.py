"""The finished run whose images a transfer reads again: its attacks as arms of an experiment on another system."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.arms import Arm
from underfire.attacks.given import GivenImages, KnownClasses, KnownMaps
from underfire.attacks.goal import Goal
from underfire.attacks.target_maps import BenignMap, MapRule
from underfire.attacks.targets import ClassRule, RandomClass
from underfire.classifiers import Classifier
from underfire.errors import StoreError
from underfire.runs.cells import Cell
from underfire.runs.folder import open_tensors
from underfire.runs.run import Run
from underfire.runs.saved_images import SavedImages
from underfire.runs.store import FORMAT
from underfire.system import System
from underfire.text import first_few


class Source:
    """A finished run, in the form that a transfer needs.

    Args:
        run: the run.

    Attributes:
        clean: the attacked images before the attack, as saved.
        images: the images of every attack and prediction-only control, by label.

    Raises:
        StoreError: an earlier version of underfire wrote the run, or its files cannot be read.
    """

    def __init__(self, run: Run) -> None:
        if run.format == 1:
            raise StoreError(
                f"the run in {run.path} has folder format {run.format}, which a transfer cannot read (expected "
                f"{FORMAT}): attack again with this version of underfire."
            )
        problems = run.damage()
        if problems:
            raise StoreError(
                f"the run in {run.path} was damaged: {first_few(problems, separator='; ')}. Do the damaged parts again "
                "with --resume before a transfer."
            )
        self.run = run
        self.clean = SavedImages(run, "clean")
        self.cells = {label: cell for label, cell in run.cells.items() if cell.kind in ("attack", "control")}
        self.images = {label: SavedImages(run, label) for label in self.cells}
        self._attack = next(cell for cell in self.cells.values() if cell.kind == "attack")
        numbers = randomness.identify(torch.empty(0), run.image_ids).tolist()
        self._place = {number: place for place, number in enumerate(numbers)}

    @property
    def seed(self) -> int:
        """The seed of the run's random numbers."""
        return int(self.run.configuration["seed"])

    @property
    def variant(self) -> str:
        """The variant of the run's interpreters: ``paper`` or ``published``."""
        held = self.run.configuration
        return str(held.get("variant") or held.get("preset") or "paper")

    @property
    def interpreters(self) -> list[str]:
        """The names of the interpreters that the run asked for, also of those that only read."""
        held = self.run.configuration
        return [*held["interpreters"], *held.get("readers", ())]

    @property
    def class_names(self) -> list[str] | None:
        """The names of the classes; None if the run knows none."""
        found: list[str] | None = self.run.record.get("class_names")
        return found

    @cached_property
    def classes(self) -> int:
        """The number of classes of the run's classifier."""
        cell = self.run.cells["clean"]
        logits = open_tensors(self.run.path / "cells" / cell.key / "000000.safetensors").get_slice("logits")
        return int(logits.get_shape()[1])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the saved images."""
        _, height, width = self.clean.levels(0).shape
        return height, width

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The inputs of a transfer as JSON values: the run's cells, and hashes of its saved images."""
        held = {"clean": self.clean.fingerprint()} | {label: data.fingerprint() for label, data in self.images.items()}
        return {
            "classifier": self.run.configuration["classifier"],
            "weights_sha256": self.run.record.get("weights_sha256"),
            "cells": {label: cell.key for label, cell in self.run.cells.items()},
            "images_sha256": held,
        }

    def arms(self, system: System, classifier: Classifier) -> tuple[Arm, ...]:
        """List the arms of the experiment that reads the run's images with another system.

        Attacks and controls keep the labels that they have in the run, so that results stand side by side.

        Args:
            system: the interpreters that read.
            classifier: the classifier that the images are prepared for.
        """
        every = tuple(system.interpreters)
        given = {label: self._given(label, classifier) for label in self.cells}
        arms = [Arm("clean", "clean", every)]
        for kind in ("control", "attack"):
            for label, cell in self.cells.items():
                if cell.kind == kind:
                    about = self._about(cell, every) if kind == "attack" else ()
                    read_by = tuple(dict.fromkeys((*about, *every)))
                    arms.append(Arm(label, kind, read_by, given[label], about, eps=cell.eps))
        if system.reseeded() is not None:
            arms.append(Arm("reseeded", "reseeded", every))
        for label, cell in self.run.cells.items():
            if cell.kind == "noise":
                arms.append(Arm(label, "noise", every, beside=cell.beside, eps=cell.eps))
        return tuple(arms)

    def described(self, cells: Mapping[str, Cell]) -> dict[str, Cell]:
        """Give the cells of a transfer what the run says of its attacks: perturbation, shaping, attacked maps."""
        found = dict(cells)
        for label, own in self.cells.items():
            found[label] = replace(
                cells[label],
                perturbation=own.perturbation,
                shaping=own.shaping,
                attacked=own.attacked,
                joint=own.joint,
            )
        return found

    @staticmethod
    def _about(cell: Cell, every: Sequence[str]) -> tuple[str, ...]:
        """Return the reading interpreters that the attack was about; if none of them reads, all that do."""
        return tuple(name for name in every if name in cell.about) or tuple(every)

    def _given(self, label: str, classifier: Classifier) -> GivenImages:
        data = self.images[label]

        def read(numbers: Sequence[int]) -> Tensor:
            places = [self._place[number] for number in numbers]
            return data.load(classifier.image_size, classifier.channels, places, classifier.resizing).images

        return GivenImages(
            name=self.cells[label].attack,
            digest=self.identity["images_sha256"][label],
            read=read,
            noise_size=self._noise_size(label),
            goal=Goal(self._targets is not None),
            target_class=self._class_rule,
            target_map=self._map_rule,
        )

    def _noise_size(self, label: str) -> float:
        """Return the size of the noise control that stands beside an attack or control of the run."""
        part = next(part for part in self.run.comparisons if label in part.labels.values())
        size = self.run.cells[part.labels["noise"]].noise_size
        if size is None:
            raise StoreError(f"the run in {self.run.path} does not say how large its noise is: attack again.")
        return size

    @cached_property
    def _targets(self) -> dict[int, int] | None:
        """The target class of each image by its identity; None if the attack only left the image's own class."""
        table = self.run.rows(["image_id", "target"], self._attack.label)
        targets = dict(zip(table["image_id"].to_pylist(), table["target"].to_pylist(), strict=True))
        if any(target is None for target in targets.values()):
            return None
        return {number: targets[self.run.image_ids[place]] for number, place in self._place.items()}

    @property
    def _class_rule(self) -> ClassRule:
        if self._targets is None:
            return RandomClass()  # the goal is to leave a class, and no rule is asked
        digest = hashlib.sha256(json.dumps(sorted(self._targets.items())).encode()).hexdigest()
        return KnownClasses(digest, self._targets)

    @property
    def _map_rule(self) -> MapRule:
        return BenignMap() if self._attack.keeps_benign else KnownMaps(self._attack.key, self._wanted)

    def _wanted(self, name: str, number: int) -> Tensor:
        """Read the map that the run's attack wanted; for an interpreter that the run does not have, that of its first
        one."""
        attacks = [cell for cell in self.cells.values() if cell.kind == "attack"]
        about = [cell for cell in attacks if name in cell.about]
        reading = [cell for cell in attacks if name in cell.read_by]
        cell = (about or reading or attacks)[0]
        known = name if name in cell.read_by else cell.about[0]
        found = self.run.wanted(cell.label, known, self.run.image_ids[self._place[number]])
        if found is None:
            raise StoreError(f"the run in {self.run.path} does not hold the maps that {cell.label} wanted.")
        return torch.from_numpy(found)
