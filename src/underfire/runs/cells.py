"""Cells: the units of a run's results, each known by a hash of everything that its numbers depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from underfire.attacks.arms import Arm, Kind
from underfire.attacks.measure import Measure
from underfire.attacks.noise import NOISE_DRAWS
from underfire.runs.identity import described, identities
from underfire.system import System

KEY_DIGITS = 16

SETTLED_IN_KEYS = ("joint_success", "joint_success_all")
"""Measures that are settled when results are read, and part of keys: keys of earlier versions hold them."""


@dataclass(frozen=True)
class Cell:
    """One attack or control of a run, on the run's images.

    Args:
        key: 16 hexadecimal digits: the hash of everything that the cell's numbers depend on.
        label: its unique name in the run, such as ``clean``, ``bim``, ``adv2``, ``adv2-cam``.
        kind: ``clean``, ``reseeded``, ``noise``, ``control`` (an attack on the prediction alone, beside another) or
            ``attack``.
        attack: the attack's or the control's name.
        read_by: the interpreters that read its images.
        attacked: the interpreters whose maps are part of the objective.
        about: the interpreters that an attack is about.
        beside: for noise: the label of an attack that says how large it is.
        perturbation, shaping: names; empty for controls that are no attack.
        keeps_benign: True if the wanted maps are the benign maps.
        joint: True for an attack on prediction and maps.
        noise_size: for noise: its size in pixel units; None in runs of earlier versions whose noise was as large as the
            attack's change.
        eps: the radius of an attack that has a ball, and of the controls beside it; None for runs of earlier versions.
    """

    key: str
    label: str
    kind: Kind
    attack: str
    read_by: tuple[str, ...]
    attacked: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    beside: str | None = None
    perturbation: str = ""
    shaping: str = ""
    keeps_benign: bool = True
    joint: bool = False
    noise_size: float | None = None
    eps: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cell:
        """Make the cell from JSON values."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**fields)


def cells_of(
    arms: Sequence[Arm],
    system: System,
    inputs: Mapping[str, Any],
    seed: int,
    measures: Sequence[Measure],
    noise_draws: int = NOISE_DRAWS,
) -> dict[str, Cell]:
    """Make the cell of each arm of an experiment, by label.

    Args:
        inputs: JSON values that all cells depend on: the images, the classifier, the precision.
        seed: of all random numbers.
        measures: what is measured.
        noise_draws: the number of noise draws of each image.
    """
    known = identities(system)
    asked = {arm.label: arm.attack for arm in arms if arm.kind == "attack" and arm.attack is not None}
    # Attacks of one run want the same classes and maps, and controls are measured by them.
    aim = next([described(part) for part in (each.goal, each.target_class, each.target_map)] for each in asked.values())
    found: dict[str, Cell] = {}
    for arm in arms:
        beside = None if arm.beside is None else asked[arm.beside]
        noise_size = None if beside is None else beside.perturbation.noise_size
        depends = {
            **inputs,
            "kind": arm.kind,
            "attack": None if arm.attack is None else described(arm.attack),
            "targets": list(arm.targets),
            "read_by": {name: known[name] for name in arm.read_by},
            "aim": aim,
            "noise": described(None) if noise_size is None else noise_size,
            **({} if beside is None else {"noise_draws": noise_draws}),
            "seed": seed,
            "measures": [each.name for each in measures if each.compute is not None or each.name in SETTLED_IN_KEYS],
        }
        digest = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
        found[arm.label] = Cell(
            key=digest[:KEY_DIGITS],
            label=arm.label,
            kind=arm.kind,
            attack=arm.name,
            read_by=arm.read_by,
            attacked=arm.attacked,
            about=arm.targets,
            beside=arm.beside,
            perturbation="" if arm.attack is None else arm.attack.perturbation.name,
            shaping="" if arm.attack is None else arm.attack.shaping.name,
            keeps_benign=all(each.target_map.benign for each in asked.values()),
            joint=arm.attack is not None and arm.attack.joint,
            noise_size=noise_size,
            eps=arm.eps,
        )
    return found
