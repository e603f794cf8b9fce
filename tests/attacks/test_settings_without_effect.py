"""Settings that would have no effect, or that contradict each other, are refused with words or honoured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.own_parts import OwnTerm
from underfire import attacks
from underfire.attacks import (
    CW,
    PGD,
    Attack,
    ConstantSearch,
    EdgeMask,
    Interpretation,
    Match,
    Move,
    Penalty,
    Point,
    Prediction,
    Presence,
    Ranking,
    Score,
    Stage,
    Weighted,
)
from underfire.attacks.pricing import Pricing
from underfire.errors import InputError


def by_hand(*terms: Weighted, **parts: Any) -> Attack:
    return Attack("mine", (Stage("one", 2, (Move(terms or (Weighted(Prediction()),), 1 / 255),)),), **parts)


@pytest.mark.parametrize("attack", ["adv2", "auto", "pgd", "bim"])
def test_the_weight_of_a_cost_that_a_perturbation_does_not_have(attack: str) -> None:
    """Regression: the weight did nothing, and said nothing."""
    said = "term 'penalty' is the perturbation's own cost, and perturbation '(pgd|bim)' has none: .* are cw, stadv"
    with pytest.raises(InputError, match=said):
        attacks.preset(attack, terms={"penalty": 100.0})
    with pytest.raises(InputError, match=said):
        by_hand(Weighted(Prediction()), Weighted(Penalty(), 100.0))


def test_the_weight_of_a_cost_that_there_is(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    settings = {"perturbation": "cw", "steps": (1, 6), "control": False}
    plain, dear = (uf.attack(classifier, images, labels, **settings, terms=terms) for terms in ((), {"penalty": 1e4}))
    assert float(dear.l2.mean()) < float(plain.l2.mean())


def test_terms_that_nothing_can_feed(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    for term, said in (
        (
            "presence",
            "needs an interpreter that offers 'presence', as rts does, and those that are attacked offer none",
        ),
        ("match", "needs class probabilities, and the rule for target classes wants none"),
    ):
        with pytest.raises(InputError, match=f"term {term!r} {said}"):
            uf.attack(classifier, images, labels, steps=(1, 1), terms={term: 1.0})


@pytest.mark.parametrize("rounded", [None, True, False])
def test_auto_rounds_unless_it_shall_not(classifier: uf.Classifier, rounded: bool | None) -> None:
    """Regression: it rounded in any case."""
    made = attacks.preset("auto", perturbation=PGD(rounded=rounded)).build(uf.System(classifier, "cam")).perturbation
    assert made == PGD(random_start=False, rounded=rounded is not False, evened=True)


def test_one_threshold_of_edges() -> None:
    with pytest.raises(InputError, match=r"edge_threshold is 0.05, and shaping is EdgeMask\(threshold=0.3, "):
        attacks.preset("advedge+", shaping=EdgeMask(0.3), edge_threshold=0.05)
    for shaping in (EdgeMask(0.05), "edge-mask", None):
        made = attacks.preset("advedge+", shaping=shaping, edge_threshold=0.05)
        assert made.replace(eps=0.1).edge_threshold == 0.05


def zero(point: Point) -> Tensor:
    return torch.zeros_like(point.penalty)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "smoothing": (lambda: Prediction("margin", smoothing=0.2), "smoothing is 0.2, and the loss 'margin' has none"),
    "share": (lambda: Prediction("logit", share=0.2), "share is 0.2, and the loss 'logit' has none"),
    "kappa": (lambda: Prediction(kappa=5.0), "kappa is 5.0, and the loss 'cross_entropy' has none"),
    "share alone": (lambda: Prediction(share=0.1), "share is 0.1, and smoothing is 0"),
    "margin": (lambda: Score(zero, margin=0.1), "margin is 0.1, and there is no threshold"),
    "confidence": (lambda: Ranking("last", 0.5), "confidence is 0.5, and the criterion 'last'"),
    "pricing": (lambda: by_hand(pricing=Pricing()), "pricing is given, and no term is priced"),
    "search": (
        lambda: by_hand(search=ConstantSearch(3), perturbation=CW()),
        "search is given, and no term has the cost that it sets the weight of",
    ),
    "ranking": (
        lambda: by_hand(ranking=Ranking("penalty")),
        "ranking is by the penalty, and perturbation 'pgd' has no",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_nothing_looks_at(name: str) -> None:
    make, said = REFUSED[name]
    with pytest.raises(InputError, match=said):
        make()


def test_parts_that_something_looks_at() -> None:
    costly = (Weighted(Prediction(), priced=True), Weighted(Penalty()))
    made = by_hand(*costly, perturbation=CW(), search=ConstantSearch(2), pricing=Pricing(), ranking=Ranking("penalty"))
    assert made.steps == 2
    own = by_hand(Weighted(OwnTerm(zero)), search=ConstantSearch(2), perturbation=CW())
    assert own.search == ConstantSearch(2), "a term of the user's own may look at the price"
    assert Prediction(smoothing=0.1, share=0.0).share == 0
    assert Presence().needs_maps
    assert Match.needs_cost is Interpretation.needs_cost is False
