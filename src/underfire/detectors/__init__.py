"""Detectors: scores that tell attacked images from benign ones, and their fair evaluation on finished runs."""

from __future__ import annotations

from underfire.detectors.class_map import ClassMap
from underfire.detectors.contract import Detector, FittedDetector, State
from underfire.detectors.evaluation import Evaluation, evaluate
from underfire.detectors.fitting import fit
from underfire.detectors.lid import LID
from underfire.detectors.map_agreement import MapAgreement
from underfire.detectors.map_squeezing import MapSqueezing
from underfire.detectors.map_stability import MapStability
from underfire.detectors.maps import Maps
from underfire.detectors.named import DETECTORS, load
from underfire.detectors.opening import evading_term
from underfire.detectors.over_budget import Course
from underfire.detectors.restoring import restoring
from underfire.detectors.split import Members, Split
from underfire.detectors.squeezing import Squeezing
from underfire.detectors.surrogate import Surrogate, surrogate

__all__ = [
    "DETECTORS",
    "LID",
    "ClassMap",
    "Course",
    "Detector",
    "Evaluation",
    "FittedDetector",
    "MapAgreement",
    "MapSqueezing",
    "MapStability",
    "Maps",
    "Members",
    "Split",
    "Squeezing",
    "State",
    "Surrogate",
    "evading_term",
    "evaluate",
    "fit",
    "load",
    "restoring",
    "surrogate",
]
