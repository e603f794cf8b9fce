"""Attacks that evade detectors: the terms of the setting ``evade``, and what ``adaptive`` chooses by itself.

``adaptive`` has the two phases of the published adaptive attack ([ADV2] section 4.5): the rule ``grid`` for target
classes, then the steps of ``adv2`` with terms that lower the detector's scores. ``adaptive-auto`` has the same on top
of ``auto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from underfire.attacks.evading import evading_terms
from underfire.attacks.grid_first import GridFirst
from underfire.attacks.presets.kinds import Kind
from underfire.attacks.ranking import Ranking, UnnoticedFirst
from underfire.attacks.schedule import Weighted
from underfire.attacks.targets import ClassRule, class_rule
from underfire.attacks.terms import Evade, Evading, Match
from underfire.attacks.terms.squeeze import PUBLISHED
from underfire.attacks.variants import Variant
from underfire.transforms.squeezers import BitDepth


def checked(evade: Any) -> tuple[Any, ...]:
    """Return the setting ``evade`` as a tuple. Raises InputError if any of it cannot be evaded."""
    given = tuple(evade) if isinstance(evade, Iterable) and not isinstance(evade, str) else (evade,)
    evading_terms(given)
    return given


def rule_of(kind: Kind, target_class: Any, targeted: bool) -> ClassRule:
    """Return the rule for target classes; adaptive attacks have ``grid`` if none is given."""
    return GridFirst() if target_class is None and kind.adaptive and targeted else class_rule(target_class)


def evaded(kind: Kind, evade: Any) -> tuple[Weighted, ...]:
    """Make a term for all that ``evade`` names; adaptive attacks evade the published squeezers if it is empty."""
    if kind.adaptive and not evade:
        evade = tuple(squeezer.label for squeezer in PUBLISHED)
    return evading_terms(evade)


def terms_against(kind: Kind, evade: Any, variant: Variant, rule: ClassRule) -> tuple[Weighted, ...]:
    """Make the loss terms of the setting ``evade``: those of ``evaded``, with ``match`` for one bit depth as published.

    Adaptive attacks of a variant with ``grid_probabilities`` have a ``match`` term for the bit depth on whose grid the
    rule for target classes searches, as published. Any other rule, and any other grid, says nothing of a bit depth.
    """
    terms = evaded(kind, evade)
    if not (kind.adaptive and variant.grid_probabilities and isinstance(rule, GridFirst)):
        return terms
    return tuple(part for each in terms for part in _matched(each, BitDepth(rule.bits)))


def _matched(given: Weighted, grid: BitDepth) -> Iterator[Weighted]:
    """Yield a ``match`` term for the bit depth ``grid`` of an ``Evade`` with a constant weight, and what is left."""
    term = given.term
    if not isinstance(term, Evade) or not isinstance(given.weight, int | float):
        yield given
        return
    known = list(zip(term.squeezers, term.thresholds, term.weights, strict=True))
    for squeezer, threshold, weight in known:
        if squeezer == grid:
            yield Weighted(Match(threshold or 0.0, term.slack), given.weight * weight)
    rest = [each for each in known if each[0] != grid]
    if rest:
        squeezers, thresholds, weights = zip(*rest, strict=True)
        yield Weighted(Evade(squeezers, thresholds, weights, term.slack), given.weight)


def unnoticed_first(ranking: Ranking, terms: Sequence[Weighted]) -> Ranking:
    """Return the ranking that prefers iterates which no detector of ``terms`` would notice; the same if there is none.

    A ranking that keeps the last iterate stays as it is.

    Args:
        ranking: the ranking of the attack.
        terms: terms that know all detectors, also those that the attack evades by a ``match`` term: that leads images
            to probabilities, and cannot tell if an image is noticed.
    """
    evading = tuple(each.term for each in terms if isinstance(each.term, Evading))
    if not evading or ranking.criterion == "last":
        return ranking
    return UnnoticedFirst(ranking.criterion, ranking.confidence, evading)
