"""The detectors by name, and fitted detectors read back from their folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from inspect import getattr_static
from pathlib import Path
from typing import Any

from torch import nn

from underfire import user_files
from underfire.classifiers import Classifier
from underfire.detectors.class_map import ClassMap
from underfire.detectors.contract import Detector, FittedDetector
from underfire.detectors.folder import plain_settings, read_folder
from underfire.detectors.lid import LID
from underfire.detectors.map_agreement import MapAgreement
from underfire.detectors.map_squeezing import MapSqueezing
from underfire.detectors.map_stability import MapStability
from underfire.detectors.maps import Maps
from underfire.detectors.split import Members
from underfire.detectors.squeezing import Squeezing
from underfire.detectors.target import Target
from underfire.errors import InputError, StoreError, UnderfireError, UserCodeError
from underfire.files import path_of
from underfire.registry import Registry, makers_of
from underfire.system import System
from underfire.user_parts import check_name, check_part, shown

Maker = type[Detector] | Callable[[], Detector]
"""A class of detectors, or a function without arguments that returns a detector."""


DETECTORS: Registry[Maker] = Registry(
    "detector",
    "underfire.detectors",
    {
        "class-map": ClassMap,
        "lid": LID,
        "map-agreement": MapAgreement,
        "map-squeezing": MapSqueezing,
        "map-stability": MapStability,
        "maps": Maps,
        "squeezing": Squeezing,
    },
    makers_of(Detector),
)
"""Detectors by name: what ``--detector`` and ``fit`` take."""


def made_of(detector: Any) -> tuple[Detector, str]:
    """Return the detector that ``detector`` stands for, and the text by which ``load`` finds its class again.

    Args:
        detector: a ``Detector``; a known name, perhaps with an argument after a colon (``squeezing:bit-depth:3``); or
            ``file.py:name``.

    Raises:
        InputError: there is no such detector, or no such argument.
        UserCodeError: the user's file raises an error.
    """
    if not isinstance(detector, str):
        check_part(detector, Detector, "detector")
        return detector, detector.name
    if user_files.split(detector) is not None:
        return _made(DETECTORS.find(detector), detector), detector
    key, _, argument = detector.partition(":")
    maker = DETECTORS.find(key)
    if not argument:
        return _made(maker, key), key
    if not (isinstance(maker, type) and issubclass(maker, Detector)):
        raise InputError(f"detector is {detector!r}; {key} takes nothing after a colon.")
    return maker.from_argument(argument), key


def takes_argument(name: str) -> bool:
    """Return True if text may follow the name of a detector, after a colon."""
    maker = DETECTORS[name]
    own = getattr_static(maker, "from_argument", None)
    return own is not None and own is not getattr_static(Detector, "from_argument")


def _made(maker: Maker, name: str, settings: Mapping[str, Any] | None = None) -> Detector:
    try:
        made = maker(**settings) if settings is not None and isinstance(maker, type) else maker()
    except UnderfireError:
        raise
    except Exception as error:  # a user's own class or function, which may raise anything
        raise UserCodeError(f"detector {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(made, Detector):
        raise InputError(f"detector is {name!r}, which makes {shown(made)}; expected a Detector.")
    check_name(made, "detector")
    return made


def load(
    folder: Path | str, system: System | Classifier | nn.Module, detector: Detector | None = None
) -> FittedDetector:
    """Read a fitted detector from its folder, and check that it was fitted for this system.

    Args:
        folder: what ``FittedDetector.save`` or ``underfire detect fit`` wrote.
        system: the classifier with the interpreters that the detector reads; a classifier alone if it reads none.
            More interpreters do no harm.
        detector: the settings of a detector that has no name that underfire knows.

    Raises:
        InputError: the system is another one than the detector was fitted for, or the detector is unknown.
        StoreError: the folder holds no detector, or its files are damaged.
    """
    record, tensors = read_folder(path_of("folder", folder))
    if detector is None:
        try:
            detector = _of_record(record)
        except KeyError as error:
            raise StoreError(f"the detector in {folder} is damaged: {error} is missing. Fit it again.") from error
    if plain_settings(detector) != record["settings"]:
        raise InputError(
            f"detector has the settings {plain_settings(detector)}; the one in {folder} has {record['settings']}."
        )
    if not isinstance(system, System):
        system = System(system, "grad").only(())
    target = Target.from_dict(record["target"])
    calibration = tensors.pop("calibration_scores")
    fitted = FittedDetector(
        detector=detector,
        system=target.check(system, detector.title),
        state=tensors,
        threshold=float(record["threshold"]),
        false_positives=float(record["false_positives"]),
        target=target,
        members={role: Members.from_dict(values) for role, values in record["members"].items()},
        calibration=calibration,
        source=record["source"],
        spec=str(record["detector"]),
        folder=path_of("folder", folder).resolve().name,
    )
    if fitted.code() != record["code_sha256"]:
        raise InputError(
            f"the code of detector {detector.title} has changed since it was fitted in {folder}, so that its scores "
            "may be other ones, and its threshold means nothing now: fit it again."
        )
    return fitted


def _of_record(record: Mapping[str, Any]) -> Detector:
    """Make the detector that a record names, with its settings."""
    name = str(record["detector"])
    maker = DETECTORS.find(name)
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in record["settings"].items()}
    if isinstance(maker, type):
        known = {field.name for field in dataclasses.fields(maker)}
        unknown = sorted(settings.keys() - known)
        if unknown:
            raise InputError(f"detector {name} has no setting {unknown[0]!r}: another version of it was fitted.")
    return _made(maker, name, settings)
