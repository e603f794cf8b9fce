"""Parts and numbers of other types than expected are refused with words, before anything is attacked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.own_parts import OwnClass, attack
from underfire.attacks import (
    Adam,
    Attack,
    ConstantSearch,
    EarlyStop,
    Goal,
    GridFirst,
    Interpretation,
    Linear,
    MarginGuard,
    Move,
    Prediction,
    RandomClass,
    RandomPatch,
    Ranking,
    Stage,
    Weighted,
)
from underfire.attacks.class_rule import Choice
from underfire.attacks.ranking import UnnoticedFirst
from underfire.attacks.rules import SignOfMomentum
from underfire.errors import InputError

TERMS = (Weighted(Prediction()),)
MOVES = (Move(TERMS, 0.1),)
STAGES = (Stage("one", 1, MOVES),)

BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "no terms": (lambda: Move((), 0.1), r"terms is empty; expected at least one Weighted, such as \(Weighted"),
    "a term alone": (lambda: Move(TERMS[0], 0.1), "terms is an object of type Weighted; expected several Weighted"),
    "no weight": (lambda: Move((Prediction(),), 0.1), "terms holds an object of type Prediction; expected Weighted"),
    "size": (lambda: Move(TERMS, math.nan), "size is nan; expected a finite number, or a schedule"),
    "sizes": (lambda: Move(TERMS, Linear(0, math.inf)), "size is Linear.* expected a finite number"),
    "no size": (lambda: Move(TERMS, None), "size is None; expected a finite number"),
    "rule": (lambda: Move(TERMS, 0.1, "sign"), "rule is an object of type str; expected a Rule"),
    "guard": (lambda: Move(TERMS, 0.1, guard=5), "guard is an object of type int; expected a Guard"),
    "no moves": (lambda: Stage("one", 1, ()), "moves of stage 'one' is empty; expected at least one Move"),
    "steps": (lambda: Stage("one", 2.5, MOVES), "steps of stage 'one' is 2.5; expected a whole number, at least 0"),
    "refreshes": (lambda: Stage("one", 2, MOVES, refreshes=-1), "refreshes of stage 'one' is -1; expected at least 1"),
    "no stages": (lambda: Attack("x", ()), "stages is empty; expected at least one Stage"),
    "a stage alone": (lambda: Attack("x", STAGES[0]), "stages is an object of type Stage; expected several Stage"),
    "moves as stages": (lambda: Attack("x", MOVES), "stages holds an object of type Move; expected Stage"),
    "goal": (lambda: Attack("x", STAGES, goal="untargeted"), "goal is an object of type str; expected a Goal"),
    "ranking": (lambda: Attack("x", STAGES, ranking="map"), "ranking is an object of type str; expected a Ranking, or"),
    "stop": (lambda: Attack("x", STAGES, early_stop=True), "early_stop is an object of type bool; expected an EarlySt"),
    "search": (lambda: Attack("x", STAGES, search=3), "search is an object of type int; expected a ConstantSearch"),
    "targets": (lambda: Attack("x", STAGES, target_class=7), "target_class is an object of type int; expected a Class"),
    "maps": (lambda: Attack("x", STAGES, target_map="patch"), "target_map is an object of type str; expected a MapR"),
    "targeted": (lambda: Goal("false"), "targeted is 'false'; expected True or False"),
    "confidence": (lambda: Ranking(confidence=5), r"confidence is 5; expected a share in \[0, 1\]"),
    "patience": (lambda: EarlyStop(patience=-1), r"patience is -1; expected a share in \[0, 1\]"),
    "enough": (lambda: EarlyStop(enough=-1), "enough is -1; expected at least 0"),
    "no detectors": (lambda: UnnoticedFirst(), "evading is empty; expected at least one Evading"),
    "smoothing": (lambda: Prediction(smoothing=0.1, share=-4), "share is -4; expected at least 0"),
    "kappa": (lambda: Prediction("margin", kappa=-3.0), "kappa is -3.0; expected at least 0"),
    "reduction": (lambda: Interpretation("max"), "reduction is 'max'; expected"),
    "attempts": (lambda: RandomPatch(attempts=2.5), "attempts is 2.5; expected a whole number, at least 1"),
    "overlap": (lambda: RandomPatch(overlap=-1), "overlap is -1; expected a share"),
    "grid": (lambda: GridFirst(steps=2.5), "steps is 2.5; expected a whole number, at least 1"),
    "among": (lambda: RandomClass((-1, 2)), "a class of among is -1; expected at least 0"),
    "among one": (lambda: RandomClass(3), r"among is 3; expected class numbers, such as \(3, 5\)"),
    "among halves": (lambda: RandomClass((0.5,)), "a class of among is 0.5; expected a whole number"),
    "initial": (lambda: ConstantSearch(2, math.nan), "search has 2 rounds from nan; expected at least one"),
    "limit": (lambda: MarginGuard(limit=-1), "limit is -1; expected at least 0"),
    "iterations": (lambda: MarginGuard(iterations=0), "iterations is 0; expected at least 1"),
    "beta": (lambda: Adam(beta1=1.5), "beta1 is 1.5; expected a share"),
    "decay": (lambda: SignOfMomentum(math.nan), "decay is nan; expected a share"),
}


@pytest.mark.parametrize("name", BAD)
def test_parts_that_cannot_be(name: str) -> None:
    make, said = BAD[name]
    with pytest.raises(InputError, match=said):
        make()


def test_lists_and_numbers_of_numpy_are_fine() -> None:
    stage = Stage("one", np.int64(3), list(MOVES))
    made = Attack("x", [stage])
    assert made == Attack("x", (Stage("one", 3, MOVES),))
    assert repr(made) == repr(Attack("x", (Stage("one", 3, MOVES),)))
    assert hash(made) == hash(Attack("x", (Stage("one", 3, MOVES),)))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda classes: classes, "target_class 'chooses' chooses shape .*; expected a Choice"),
        (lambda classes: Choice(classes, [[1.0]]), "wants class probabilities of an object of type list; expected"),
    ],
)
def test_choices_of_other_types(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, answer: Callable[[Tensor], Any], said: str
) -> None:
    class Chooses(OwnClass):
        name = "chooses"

        def choose(self, view: Any, benign: Any, seed: int) -> Any:
            return answer((benign.labels + 1) % 4)

    with pytest.raises(InputError, match=said):
        attack(classifier, images, labels, target_class=Chooses(lambda benign: torch.zeros(6)))
