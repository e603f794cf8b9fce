"""Perturbations: how an adversarial image is parameterised and moved. Each is one module that owns its schedules."""

from __future__ import annotations

from typing import Any

from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.cw import CW
from underfire.attacks.perturbations.eps import EPS, check_eps, eight_bit_box, eps_text, parse_eps, parse_several_eps
from underfire.attacks.perturbations.linf import BIM, PGD
from underfire.attacks.perturbations.stadv import StAdv
from underfire.registry import Registry
from underfire.user_parts import check_name


def _accept(value: Any) -> type[Perturbation] | Perturbation:
    if isinstance(value, Perturbation) or (isinstance(value, type) and issubclass(value, Perturbation)):
        check_name(value, "perturbation")
        return value
    raise TypeError("expected a subclass of Perturbation, or an instance of one")


PERTURBATIONS: Registry[type[Perturbation] | Perturbation] = Registry(
    "perturbation",
    "underfire.perturbations",
    {part.name: part for part in (PGD, BIM, CW, StAdv)},
    _accept,
)
"""Perturbations by name: what ``--perturbation`` and ``preset(perturbation=...)`` take. Each name is also an attack on
the prediction alone."""

__all__ = [
    "BIM",
    "CW",
    "EPS",
    "PERTURBATIONS",
    "PGD",
    "Perturbation",
    "StAdv",
    "Theta",
    "check_eps",
    "eight_bit_box",
    "eps_text",
    "parse_eps",
    "parse_several_eps",
]
