"""Perturbations: how an adversarial image is parameterised and updated. One module each."""

from __future__ import annotations

from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.linf import PGD, eight_bit_box, parse_eps

__all__ = ["PGD", "Perturbation", "Theta", "eight_bit_box", "parse_eps"]
