"""Perturbations: how an adversarial image is parameterised and updated. One module each."""

from __future__ import annotations

from underfire.attacks.perturbations.base import Perturbation, Theta
from underfire.attacks.perturbations.cw import CW
from underfire.attacks.perturbations.eps import EPS, check_eps, eight_bit_box, has_ball, parse_eps
from underfire.attacks.perturbations.linf import PGD
from underfire.attacks.perturbations.stadv import StAdv

__all__ = ["CW", "EPS", "PGD", "Perturbation", "StAdv", "Theta", "check_eps", "eight_bit_box", "has_ball", "parse_eps"]
