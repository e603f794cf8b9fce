"""Attacks on a classifier alone, and on a classifier and its interpreters at once."""

from __future__ import annotations

from underfire.attacks.attack import Attack
from underfire.attacks.base import BaseAttack
from underfire.attacks.foreign import ForeignAttack
from underfire.attacks.goal import Goal
from underfire.attacks.guards import MarginGuard
from underfire.attacks.objective import Interpretation, Penalty, Prediction, Presence
from underfire.attacks.perturbations import CW, PGD, Perturbation, StAdv
from underfire.attacks.presets import KINDS, ROWS, VARIANTS, Preset, preset
from underfire.attacks.ranking import EarlyStop, Ranking
from underfire.attacks.result import AttackResult
from underfire.attacks.rules import Adam, Sign, UnitL2, UnitRMS
from underfire.attacks.schedule import Constant, Linear, Move, Phases, Stage, Weighted
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import SHAPINGS, Edge, EdgeMask, Shaping, Uniform
from underfire.attacks.target_maps import BenignMap, ClassMap, GivenMap, MapPool, MapRule, RandomPatch
from underfire.attacks.targets import CLASS_RULES, GivenClass, LeastLikely, RandomClass
from underfire.attacks.trace import Trace

__all__ = [
    "CLASS_RULES",
    "CW",
    "KINDS",
    "PGD",
    "ROWS",
    "SHAPINGS",
    "VARIANTS",
    "Adam",
    "Attack",
    "AttackResult",
    "BaseAttack",
    "BenignMap",
    "ClassMap",
    "Constant",
    "ConstantSearch",
    "EarlyStop",
    "Edge",
    "EdgeMask",
    "ForeignAttack",
    "GivenClass",
    "GivenMap",
    "Goal",
    "Interpretation",
    "LeastLikely",
    "Linear",
    "MapPool",
    "MapRule",
    "MarginGuard",
    "Move",
    "Penalty",
    "Perturbation",
    "Phases",
    "Prediction",
    "Presence",
    "Preset",
    "RandomClass",
    "RandomPatch",
    "Ranking",
    "Shaping",
    "Sign",
    "StAdv",
    "Stage",
    "Trace",
    "Uniform",
    "UnitL2",
    "UnitRMS",
    "Weighted",
    "preset",
]
