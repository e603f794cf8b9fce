"""Attacks on a classifier alone, and on a classifier and its interpreters at once."""

from __future__ import annotations

from underfire.attacks.aim import Aim
from underfire.attacks.arms import Arm, Asked, arms_of
from underfire.attacks.attack import Attack
from underfire.attacks.base import BaseAttack
from underfire.attacks.class_rule import Choice
from underfire.attacks.experiment import Experiment, Finding
from underfire.attacks.foreign import ForeignAttack
from underfire.attacks.goal import Goal
from underfire.attacks.grid_first import GridFirst
from underfire.attacks.guards import MarginGuard
from underfire.attacks.measure import Measure, Seen
from underfire.attacks.measures import MEASURES
from underfire.attacks.perturbations import BIM, CW, PERTURBATIONS, PGD, Perturbation, StAdv
from underfire.attacks.presets import KINDS, AttackSettings, Preset, preset
from underfire.attacks.ranking import EarlyStop, Ranking, UnnoticedFirst
from underfire.attacks.result import AttackResult
from underfire.attacks.rows import Row
from underfire.attacks.rules import Adam, Sign, UnitL2, UnitRMS
from underfire.attacks.schedule import Constant, Linear, Move, Phases, Stage, Weighted
from underfire.attacks.search import ConstantSearch
from underfire.attacks.shaping import SHAPINGS, Edge, EdgeMask, Shaping, Uniform
from underfire.attacks.square import Square
from underfire.attacks.target_maps import MAP_RULES, BenignMap, ClassMap, GivenMap, MapPool, MapRule, RandomPatch
from underfire.attacks.targets import CLASS_RULES, ClassRule, GivenClass, LeastLikely, RandomClass
from underfire.attacks.terms import (
    TERMS,
    Evade,
    Evading,
    Interpretation,
    Match,
    Penalty,
    Point,
    Prediction,
    Presence,
    Score,
    ScoreOfMaps,
    Squeeze,
    Term,
)
from underfire.attacks.trace import Trace
from underfire.attacks.variants import VARIANTS, Variant

__all__ = [
    "BIM",
    "CLASS_RULES",
    "CW",
    "KINDS",
    "MAP_RULES",
    "MEASURES",
    "PERTURBATIONS",
    "PGD",
    "SHAPINGS",
    "TERMS",
    "VARIANTS",
    "Adam",
    "Aim",
    "Arm",
    "Asked",
    "Attack",
    "AttackResult",
    "AttackSettings",
    "BaseAttack",
    "BenignMap",
    "Choice",
    "ClassMap",
    "ClassRule",
    "Constant",
    "ConstantSearch",
    "EarlyStop",
    "Edge",
    "EdgeMask",
    "Evade",
    "Evading",
    "Experiment",
    "Finding",
    "ForeignAttack",
    "GivenClass",
    "GivenMap",
    "Goal",
    "GridFirst",
    "Interpretation",
    "LeastLikely",
    "Linear",
    "MapPool",
    "MapRule",
    "MarginGuard",
    "Match",
    "Measure",
    "Move",
    "Penalty",
    "Perturbation",
    "Phases",
    "Point",
    "Prediction",
    "Presence",
    "Preset",
    "RandomClass",
    "RandomPatch",
    "Ranking",
    "Row",
    "Score",
    "ScoreOfMaps",
    "Seen",
    "Shaping",
    "Sign",
    "Square",
    "Squeeze",
    "StAdv",
    "Stage",
    "Term",
    "Trace",
    "Uniform",
    "UnitL2",
    "UnitRMS",
    "UnnoticedFirst",
    "Variant",
    "Weighted",
    "arms_of",
    "preset",
]
