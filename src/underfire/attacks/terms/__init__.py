"""Loss terms. Each gives one value per image; an objective is their weighted sum, summed over images."""

from __future__ import annotations

from underfire.attacks.terms.base import Point, Term
from underfire.attacks.terms.interpretation import Interpretation
from underfire.attacks.terms.penalty import Penalty
from underfire.attacks.terms.prediction import Prediction
from underfire.attacks.terms.presence import Presence
from underfire.registry import Registry, instances_of

TERMS: Registry[Term] = Registry(
    "term",
    "underfire.terms",
    {term.name: term for term in (Prediction(), Interpretation(), Presence(), Penalty())},
    instances_of(Term, "the term"),
)
"""Terms with their default settings, by name: what ``--term`` and ``preset(terms=...)`` take."""

__all__ = ["TERMS", "Interpretation", "Penalty", "Point", "Prediction", "Presence", "Term"]
