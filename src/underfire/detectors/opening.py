"""Fitted detectors opened from their folders, with the classifier of a run or the one that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from underfire.attacks.terms import Evading
from underfire.classifiers import Classifier
from underfire.detectors.contract import FittedDetector
from underfire.detectors.folder import read_folder
from underfire.detectors.named import load
from underfire.errors import InputError, StoreError
from underfire.files import path_of
from underfire.system import System

if TYPE_CHECKING:
    from underfire.runs.run import Run


def source_of(interpreters: Sequence[str], variant: str) -> dict[str, Any]:
    """Return the entries of a detector's ``source`` that ``open_detector`` reads."""
    return {"interpreters": list(interpreters), "variant": variant}


def open_detector(folder: Path, classifier: Classifier) -> FittedDetector:
    """Open a fitted detector for a classifier, with the interpreters that it was fitted with.

    Interpreters are made by their names. A detector that reads interpreters without names is opened in Python, with
    ``load``.

    Raises:
        InputError: the classifier is another one, or an interpreter is not known by its name.
        StoreError: the folder holds no detector.
    """
    record, _ = read_folder(folder)
    source, target = record.get("source") or {}, record.get("target") or {}
    names = source.get("interpreters") or list(target.get("interpreters") or ())
    if not names:
        return load(folder, classifier)
    return load(folder, System(classifier, names, source.get("variant", "paper")))


def evading_term(folder: Path | str, system: System, gradient: bool = True) -> Evading:
    """Open a fitted detector for an attack, and return the loss term that evades it; see ``FittedDetector.term``.

    Args:
        folder: of the detector.
        system: what is attacked. The detector must have been fitted for its classifier, and read no other maps than
            those of its interpreters.
        gradient: False for an attack that takes no gradient: it may evade any detector for its classifier.

    Raises:
        InputError: the detector was fitted for another system, or has no differentiable score; the message says what to
            do.
        StoreError: the folder holds no detector.
    """
    place = path_of("evade", folder)
    record, _ = read_folder(place)
    if not gradient:
        return open_detector(place, system.classifier).term(gradient=False)
    missing = [name for name in (record.get("target") or {}).get("interpreters") or () if name not in system.attacked]
    if missing:
        raise InputError(
            f"evade is {str(folder)!r}, a detector that reads the maps of {', '.join(missing)}, and the attack on "
            f"{', '.join(system.attacked)} does not: attack all interpreters of the detector at once, with "
            "--interpreter and without --each."
        )
    return load(folder, system).term()


def classifier_of(run: Run, device: torch.device) -> Classifier:
    """Load the classifier of a run.

    Raises:
        StoreError: it has other weights than it had in the run.
        UnderfireError: it cannot be loaded.
    """
    from underfire.checkpoints import state_hash
    from underfire.runs.inputs import InputSettings
    from underfire.settings import settings_of

    held = run.configuration
    values = {name: held[name] for name in settings_of(InputSettings) if name in held}
    classifier = InputSettings.from_values(values).load_classifier(device)
    if run.record.get("weights_sha256") not in (None, state_hash(classifier.module)):
        raise StoreError(
            f"{held['classifier']} has other weights than it had in the run in {run.path}: what it says of the run's "
            "images means nothing now."
        )
    return classifier
