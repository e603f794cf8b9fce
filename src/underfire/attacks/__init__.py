"""Attacks on a classifier alone, and on a classifier and its interpreters at once."""

from __future__ import annotations

from underfire.attacks.attack import Attack
from underfire.attacks.goal import Goal
from underfire.attacks.guards import MarginGuard
from underfire.attacks.objective import Interpretation, Penalty, Prediction, Presence
from underfire.attacks.perturbations import PGD, Perturbation
from underfire.attacks.presets import BUILDERS, VARIANTS, Preset, preset
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.result import AttackResult
from underfire.attacks.rules import Adam, Sign, UnitL2, UnitRMS
from underfire.attacks.schedule import Constant, Linear, Move, Phases, Stage, Weighted
from underfire.attacks.shaping import Shaping, Uniform
from underfire.attacks.targets import CLASS_RULES, BenignMap, GivenClass, LeastLikely, RandomClass
from underfire.attacks.trace import Trace

__all__ = [
    "BUILDERS",
    "CLASS_RULES",
    "PGD",
    "VARIANTS",
    "Adam",
    "Attack",
    "AttackResult",
    "BenignMap",
    "Constant",
    "EarlyStop",
    "GivenClass",
    "Goal",
    "Interpretation",
    "LeastLikely",
    "Linear",
    "MarginGuard",
    "Move",
    "Penalty",
    "Perturbation",
    "Phases",
    "Prediction",
    "Presence",
    "Preset",
    "RandomClass",
    "Ranking",
    "Shaping",
    "Sign",
    "Stage",
    "Trace",
    "Uniform",
    "UnitL2",
    "UnitRMS",
    "Weighted",
    "preset",
]
