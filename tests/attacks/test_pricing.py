"""A pricing of the user's own: it works, other objects are refused, and its errors name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from underfire import attacks
from underfire.attacks.pricing import Pricing, State
from underfire.errors import InputError, UserCodeError


@dataclass(frozen=True)
class Steady(Pricing):
    """A price that stays; ``fails`` names the method that raises an error, ``answer`` a wrong answer of ``begin``."""

    fails: str = ""
    answer: Any = None

    def begin(self, like: Tensor) -> State:
        if self.fails == "begin":
            raise KeyError("lost")
        return super().begin(like) if self.answer is None else self.answer

    def update(self, state: Mapping[str, Tensor], point: attacks.Point) -> State:
        if self.fails == "update":
            raise KeyError("lost")
        return dict(state)


def with_pricing(classifier: uf.Classifier, pricing: Any) -> attacks.Attack:
    system = uf.System(classifier, uf.interpreters.CAM())
    return replace(attacks.preset("auto", eps=0.1, budget=2).build(system), pricing=pricing)


def test_a_steady_price_is_no_price(classifier: uf.Classifier, images: Tensor, labels: Tensor) -> None:
    system = uf.System(classifier, uf.interpreters.CAM())
    steady, none = (with_pricing(classifier, pricing)(system, images, labels) for pricing in (Steady(), None))
    assert torch.equal(steady.adversarial, none.adversarial)


@pytest.mark.parametrize(("wrong", "said"), [(3.0, "an object of type float"), (Pricing, "the class Pricing")])
def test_other_objects_are_refused(classifier: uf.Classifier, wrong: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"pricing is {said}; expected a Pricing, or None"):
        with_pricing(classifier, wrong)


@pytest.mark.parametrize("method", ["begin", "update"])
def test_errors_in_the_users_code_name_the_part(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, method: str
) -> None:
    attack = with_pricing(classifier, Steady(fails=method))
    with pytest.raises(UserCodeError, match=r"pricing 'Steady' fails: KeyError: 'lost' \(.*test_pricing\.py, line"):
        attack(uf.System(classifier, uf.interpreters.CAM()), images, labels)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"price": torch.ones(1)}, r"'price' as shape \(1,\)"),
        ({}, "'price' as an object of type NoneType"),
        (torch.ones(8), r"shape \(8,\)"),
    ],
)
def test_wrong_answers_are_refused(
    classifier: uf.Classifier, images: Tensor, labels: Tensor, answer: Any, said: str
) -> None:
    attack = with_pricing(classifier, Steady(answer=answer))
    with pytest.raises(InputError, match=f"the pricing returns {said}; expected a dict with 'price', a tensor of"):
        attack(uf.System(classifier, uf.interpreters.CAM()), images, labels)
