"""Data, classifiers and selections that several runs share. Each is opened and hashed once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from underfire.attacks import KINDS
from underfire.attacks.terms import Evading
from underfire.checkpoints import state_hash
from underfire.errors import InputError
from underfire.interpreters.base import Interpreter
from underfire.runs.devices import find_device
from underfire.runs.identity import identities
from underfire.runs.inputs import Inputs, InputSettings
from underfire.runs.selection import Selection
from underfire.runs.settings import RunConfig
from underfire.settings import settings_of
from underfire.system import System

TermOf = Callable[[Path, System, bool], Evading]
"""Opens the detector in a folder for a system whose maps an attack reads, and returns the term that evades it.

The last argument is False for an attack that takes no gradient."""

KEPT = 2
"""Classifiers with data that are kept open for the next run of a campaign."""


@dataclass
class Opened:
    """Data, classifiers and selections that several runs share, so that each is opened, hashed and classified once.

    Args:
        term_of: opens the fitted detectors that attacks evade. Detectors know runs, so that runs cannot know detectors:
            whoever makes runs hands this function in, such as ``underfire.detectors.opening.evading_term``.
        inputs, hashes, selections: what is opened.
    """

    term_of: TermOf | None = None
    inputs: dict[str, Inputs] = field(default_factory=dict)
    hashes: dict[str, dict[str, Any]] = field(default_factory=dict)
    selections: dict[str, Selection] = field(default_factory=dict)

    def open(self, config: RunConfig, device: str) -> Inputs:
        """Open the inputs of a run, or return those of an earlier run with the same."""
        key = self.key(config, device)
        if key not in self.inputs:
            self.inputs[key] = config.open(find_device(device))
            while len(self.inputs) > KEPT:
                del self.inputs[next(iter(self.inputs))]
        return self.inputs[key]

    def depends(self, config: RunConfig, device: str, *, data: bool = True) -> dict[str, Any]:
        """Hash the inputs of a run, as entries of ``run.json``.

        Args:
            config: the run.
            device: the device of the classifier.
            data: hash the data, too, which takes long if there are many.
        """
        key = self.key(config, device)
        if key not in self.hashes:
            classifier = self.open(config, device).classifier
            self.hashes[key] = {
                "classifier_sha256": classifier.sha256(),
                "weights_sha256": state_hash(classifier.module),
                "preparation": classifier.preparation(),
            }
        if data and "data_sha256" not in self.hashes[key]:
            fingerprint = self.open(config, device).data.fingerprint()
            self.hashes[key] = {"data_sha256": fingerprint, **self.hashes[key]}
        return self.hashes[key]

    def maskers(self, config: RunConfig, device: str) -> dict[str, str]:
        """Describe the interpreters that depend on trained files, by name, as they are now.

        These are the interpreters that say more about themselves than their settings (``Interpreter.identity``).
        """
        classifier = self.open(config, device).classifier
        system = System(classifier, config.interpreters, str(config.variant), readers=config.readers)
        trained = [
            name for name, part in system.interpreters.items() if type(part).identity is not Interpreter.identity
        ]
        return identities(system.only(trained))

    def evading(self, config: RunConfig, system: System, places: Sequence[Path] | None = None) -> tuple[Evading, ...]:
        """Make the terms of an attack on ``system`` that evade the detectors in the configuration's folders.

        Args:
            config: the run.
            system: what is attacked.
            places: where the detectors are read; in the configuration's folders if None.

        Raises:
            InputError: a detector was fitted for another system, or has no differentiable score.
            StoreError: a folder holds no detector.
        """
        if config.evaded and self.term_of is None:
            raise InputError(
                f"evade is {str(config.evaded[0])!r}, the folder of a fitted detector, and nothing was given that "
                "opens it: give run_attack term_of=underfire.detectors.evading_term, or use 'underfire attack'."
            )
        if self.term_of is None:
            return ()
        kind = KINDS.get(config.attack.lower())
        gradient = kind is None or not kind.queries
        return tuple(self.term_of(folder, system, gradient) for folder in places or config.evaded)

    @staticmethod
    def key(config: RunConfig, device: str) -> str:
        """Return a text that is the same for runs with the same inputs."""
        values = {name: getattr(config, name) for name in settings_of(InputSettings)}
        return json.dumps([device, values], default=str)
