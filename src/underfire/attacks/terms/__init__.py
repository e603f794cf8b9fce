"""Loss terms. Each gives one value per image; an objective is their weighted sum, summed over images."""

from __future__ import annotations

from underfire.attacks.terms.base import Evading, Point, Term
from underfire.attacks.terms.evade import Evade
from underfire.attacks.terms.interpretation import Interpretation
from underfire.attacks.terms.match import Match
from underfire.attacks.terms.penalty import Penalty
from underfire.attacks.terms.prediction import Prediction
from underfire.attacks.terms.presence import Presence
from underfire.attacks.terms.score import Score, ScoreOfMaps, Scoring
from underfire.attacks.terms.squeeze import Squeeze
from underfire.registry import Registry, instances_of

TERMS: Registry[Term] = Registry(
    "term",
    "underfire.terms",
    {term.name: term for term in (Prediction(), Interpretation(), Presence(), Penalty(), Squeeze(), Evade(), Match())},
    instances_of(Term, "the term"),
)
"""Terms with their default settings, by name: what ``--term`` and ``preset(terms=...)`` take."""

__all__ = [
    "TERMS",
    "Evade",
    "Evading",
    "Interpretation",
    "Match",
    "Penalty",
    "Point",
    "Prediction",
    "Presence",
    "Score",
    "ScoreOfMaps",
    "Scoring",
    "Squeeze",
    "Term",
]
