"""Arguments of detectors, certificates, audits and trainings: mistaken ones are refused with words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import underfire as uf
from tests.detectors.conftest import Digits
from underfire.audits import decide
from underfire.defenses.aid import AidRecipe
from underfire.defenses.robust import RobustRecipe
from underfire.detectors import LID, Maps, MapSqueezing, MapStability, Squeezing, evaluate, fit, restoring, surrogate
from underfire.errors import InputError
from underfire.interpreters.certified import SparsifiedSmoothGrad, certify


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Maps(grid=2.5), "grid is 2.5; expected a whole number, at least 1"),
        (lambda: Maps(trees="4"), "trees is '4'; expected a whole number"),
        (lambda: Maps(seed=None), "seed is None; expected a whole number"),
        (lambda: Maps(product="no"), "product is 'no'; expected False or True"),
        (lambda: Maps(features=3), "features is 3; expected 'pooled'"),
        (lambda: LID(neighbours=5.5), "neighbours is 5.5; expected a whole number, at least 2"),
        (lambda: LID(references=100.5), "references is 100.5; expected a whole number"),
        (lambda: LID(noise="x"), r"noise is 'x'; expected a size in pixel units in \[0, 1\)"),
        (lambda: LID(noise=1), r"noise is 1; expected a size in pixel units in \[0, 1\)"),
        (lambda: MapStability(draws=1.5), "draws is 1.5; expected a whole number, at least 1"),
        (lambda: MapStability(noise=math.nan), "noise is nan; expected a size in pixel units between 0 and 1"),
        (lambda: MapStability(noise=0), "noise is 0; expected a size in pixel units between 0 and 1"),
        (lambda: Squeezing(3), "squeezers is 3; expected squeezers, such as"),
        (lambda: MapSqueezing(None), "squeezers is None; expected squeezers, such as"),
        (lambda: RobustRecipe(steps=2.5), "steps is 2.5; expected a whole number, at least 1"),
        (lambda: RobustRecipe(attack_steps="x"), "attack_steps is 'x'; expected a whole number, at least 1"),
        (lambda: RobustRecipe(average="x"), r"average is 'x'; expected the decay of an average in \[0, 1\)"),
        (lambda: RobustRecipe(ramp="x"), r"ramp is 'x'; expected a share of the training in \[0, 1\]"),
        (lambda: AidRecipe(joint=1.5), "joint is 1.5; expected a whole number, at least 1"),
    ],
)
def test_impossible_settings(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_whole_numbers_of_other_libraries_become_pythons() -> None:
    made = Maps(grid=torch.tensor(4))  # type: ignore[arg-type]
    assert type(made.grid) is int
    assert made == Maps(grid=4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"calibration": None}, "calibration is an object of type NoneType; expected a tensor"),
        ({"benign": [1, 2]}, "benign is an object of type list; expected a tensor"),
        ({"false_positives": "0.05"}, "false_positives is '0.05'; expected a share between 0 and 1"),
        ({"false_positives": math.nan}, "false_positives is nan; expected a share between 0 and 1"),
        ({"calibration_ids": 3}, "ids of calibration is 3; expected None, or one id per image"),
        ({"benign_ids": "a" * 10}, "ids of benign is 'aaaaaaaaaa'; expected None, or one id per image"),
        ({"source": 3}, "source is 3; expected None, or a mapping"),
    ],
)
def test_mistaken_arguments_of_fit(digits: Digits, given: dict[str, Any], message: str) -> None:
    images: dict[str, Any] = {"calibration": digits.images[80:], "benign": digits.images[:10]}
    with pytest.raises(InputError, match=message):
        fit("class-map", digits.system, **(images | given))


def test_few_images_in_an_array_are_counted(digits: Digits) -> None:
    few: Any = digits.images[:5].numpy()
    with pytest.raises(InputError, match="calibration holds 5 images, too few"):
        fit("squeezing:median:2", digits.system, few)


def test_mistaken_arguments_of_functions(digits: Digits) -> None:
    fitted = fit("class-map", digits.system, digits.images[80:], digits.images[:80])
    wrong: Any
    for wrong, message in (
        (lambda: surrogate("x", None, None), "fitted is 'x'; expected a fitted detector"),  # type: ignore[arg-type]
        (lambda: surrogate(fitted, None, None), "images is an object of type NoneType"),  # type: ignore[arg-type]
        (lambda: surrogate(fitted, digits.images[:60], digits.images[50:90]), "calibration holds 10 of the images"),
        (lambda: fitted.term("a"), "margin is 'a'; expected at least 0"),  # type: ignore[arg-type]
        (lambda: evaluate(3, "run"), "detectors is 3; expected fitted detectors"),  # type: ignore[arg-type]
        (lambda: evaluate([3], "run"), "detectors holds 3; expected fitted detectors"),  # type: ignore[list-item]
        (lambda: evaluate(fitted, 3), "runs is 3; expected finished runs"),  # type: ignore[arg-type]
        (lambda: restoring(digits.system, 3), "transforms is 3; expected squeezers"),  # type: ignore[arg-type]
        (lambda: restoring(digits.system.classifier, ["jpeg:75"]), "system is .*expected the attacked System"),  # type: ignore[arg-type]
        (lambda: decide(None, "0.2"), "fail_below is '0.2'; expected a share"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=message):
            wrong()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"maps": 3}, "maps is an object of type int; expected a tensor N x h x w"),
        ({"maps": torch.rand(8, 8)}, r"maps is shape \(8, 8\); expected a tensor N x h x w"),
        ({"interpreter": "grad"}, "interpreter is 'grad'; expected the SparsifiedSmoothGrad"),
        ({"top": 2.5}, "top is 2.5; expected a whole number"),
        ({"confidence": "a"}, r"confidence is 'a'; expected a probability in \(0, 1\)"),
        ({"radius": "a"}, "radius is 'a'; expected at least 0"),
    ],
)
def test_mistaken_arguments_of_certify(given: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"maps": torch.rand(1, 8, 8), "interpreter": SparsifiedSmoothGrad(samples=8), "radius": 0.1}
    values = usual | given
    with pytest.raises(InputError, match=message):
        certify(values.pop("maps"), values.pop("interpreter"), **values)


def test_a_squeezer_alone_is_one_of_several(digits: Digits) -> None:
    single: Any = "median:2"
    assert Squeezing(single) == Squeezing(("median:2",))
    assert [each.name for each in restoring(digits.system, single)] == ["class_back_median_2", "map_after_median_2"]
    assert uf.transforms.squeezers.squeezers("median:2") == uf.transforms.squeezers.squeezers(["median:2"])
