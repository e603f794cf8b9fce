"""Ensembles: their frozen members, the classes that these go for, and what is left out with few classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.audits.conftest import Given
from underfire.attacks.benign import read_benign
from underfire.attacks.perturbations import PGD
from underfire.audits import ENSEMBLES, Member
from underfire.audits.ensemble import distinct
from underfire.errors import InputError


def test_the_frozen_ensemble() -> None:
    """Audits of one ensemble are compared: a change needs a new name."""
    said = [
        (each.name, each.kind, each.steps, each.rank, each.goes_on, each.random_start) for each in ENSEMBLES["audit-1"]
    ]
    assert said == [
        ("apgd-ce", "apgd-ce", 50, 0, False, False),
        ("apgd-dlr", "apgd-dlr", 50, 0, False, False),
        ("auto", "auto", 200, 0, False, False),
        *((f"auto-{rank}", "auto", 100, rank, False, False) for rank in range(1, 10)),
        ("auto-on", "auto", 1000, 0, True, False),
        ("adv2", "adv2", 200, 1, False, False),
        ("search", "search", 500, 0, False, False),
    ]


def test_ranks_are_the_likeliest_other_classes(digits: Given) -> None:
    benign = read_benign(uf.System(digits.classifier, "cam"), digits.images, digits.labels)
    for rank in (1, 2, 3):
        member = next(each for each in ENSEMBLES["audit-1"] if each.rank == rank)
        classes = member.classes(benign, torch.full((len(digits.labels),), -1))
        assert classes is not None
        for row, label in enumerate(digits.labels.tolist()):
            order = [number for number in benign.logits[row].argsort(descending=True).tolist() if number != label]
            assert int(classes[row]) == order[rank - 1]


def test_a_restart_begins_at_a_random_image_of_the_ball() -> None:
    plain, again = (Member("auto", "auto", 5, random_start=start).preset(0.1) for start in (False, True))
    assert (plain.perturbation, again.perturbation) == (PGD(0.1, random_start=False), PGD(0.1, random_start=True))


def test_two_classes_need_no_targets() -> None:
    names = [each.name for each in distinct(ENSEMBLES["audit-1"], 2)]
    assert names == ["apgd-ce", "apgd-dlr", "auto", "auto-on", "adv2", "search"]
    assert [each.rank for each in distinct(ENSEMBLES["audit-1"], 3)] == [0, 0, 0, 1, 2, 0, 1, 0]
    assert len(distinct(ENSEMBLES["audit-1"], 10)) == len(ENSEMBLES["audit-1"])


def test_a_member_goes_only_if_one_like_it_stays() -> None:
    """Regression: an audit of two classes with such an attack alone ran nothing, and passed the gate."""
    alone = Member("auto-1", "auto", 100, rank=1)
    assert distinct((alone,), 2) == (alone,)
    assert distinct((Member("auto", "auto", 50), alone), 2) == (Member("auto", "auto", 50), alone)  # fewer steps
    assert distinct((Member("adv2", "adv2", 200), alone), 2) == (Member("adv2", "adv2", 200), alone)
    assert distinct((Member("far", "auto", 30, rank=50),), 10) == (Member("far", "auto", 30, rank=9),)
    assert distinct(ENSEMBLES["audit-1"][3:6], 2) == ENSEMBLES["audit-1"][3:4]
    for first in (Member("last", "auto", 30, rank=9), Member("far", "auto", 30, rank=40)):
        own = (first, Member("further", "auto", 30, rank=50))
        with pytest.raises(
            InputError, match=f"'further' has rank 50, and with the 10 classes .* would repeat member '{first.name}'"
        ):
            distinct(own, 10)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": ""}, "name is ''; expected a text"),
        ({"kind": "pgd"}, "kind is 'pgd'; expected 'apgd-ce', 'apgd-dlr', 'auto', 'adv2' or 'search'"),
        ({"steps": 0}, "steps is 0; expected at least 1"),
        ({"steps": 2.5}, "steps is 2.5; expected a whole number, at least 1"),
        ({"rank": -1}, "rank is -1; expected at least 0"),
        ({"goes_on": "no"}, "goes_on is 'no'; expected False or True"),
    ],
)
def test_members_that_are_none(given: dict[str, Any], said: str) -> None:
    """Regression: another kind ran as ADV2, and no steps as an attack that found nothing."""
    with pytest.raises(InputError, match=said):
        Member(**{"name": "mine", "kind": "auto", "steps": 10} | given)


def test_the_long_attack_goes_on_with_the_best_class(digits: Given) -> None:
    benign = read_benign(uf.System(digits.classifier, "cam"), digits.images, digits.labels)
    (member,) = (each for each in ENSEMBLES["audit-1"] if each.goes_on)
    found = torch.full((12,), -1)
    found[4] = 7
    classes = member.classes(benign, found)
    others = benign.logits.clone()
    others[torch.arange(12), digits.labels] = -torch.inf
    wanted = others.argmax(1)
    wanted[4] = 7
    assert isinstance(classes, Tensor)
    assert torch.equal(classes, wanted)


@pytest.mark.parametrize("name", ["smaller eps", "auto, smaller eps", "auto, attack on cam"])
def test_names_that_say_where_an_image_was_found_are_refused(name: str) -> None:
    """Regression: results of such a member read as findings at a smaller radius."""
    with pytest.raises(InputError, match=f"name is {name!r}; expected one without a comma"):
        Member(name, "auto", 3)
