"""Checks of arguments refuse wrong values, and name the argument, the value and what was expected."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from underfire.arguments import check_at_least, check_at_most, check_callable, check_choice, check_known, whole_number
from underfire.errors import InputError


def test_values_at_the_limit_and_above_pass() -> None:
    check_at_least("epochs", 1, 1)
    check_at_least("spread", 0.5, 0)
    check_choice("shape", "disc", ("any", "disc"))
    check_known("recipe", "cnn", {"cnn": 1})


@pytest.mark.parametrize("value", [0, -3, math.nan])
def test_smaller_values_and_nan_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=rf"^epochs is {value}; expected at least 1, or None\.$"):
        check_at_least("epochs", value, 1, ", or None")


@pytest.mark.parametrize("value", ["b", None, 1])
def test_other_choices_are_refused(value: object) -> None:
    with pytest.raises(InputError) as caught:
        check_choice("kind", value, ("x", "y", "z"))
    assert str(caught.value) == f"kind is {value!r}; expected 'x', 'y' or 'z'."


def test_unknown_names_are_refused_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match=r"unknown recipe 'cn'\. Did you mean 'cnn'\?"):
        check_known("recipe", "cn", ["cnn", "mlp"])


@pytest.mark.parametrize("value", ["4", None, [4], torch.ones(2), np.ones(2)])
def test_what_is_no_number_is_beyond_every_limit(value: Any) -> None:
    with pytest.raises(InputError, match=r"^steps is .*; expected at least 1"):
        check_at_least("steps", value, 1)
    with pytest.raises(InputError, match=r"^steps is .*; expected at most 9"):
        check_at_most("steps", value, 9)


@pytest.mark.parametrize("value", [4, np.int64(4), torch.tensor(4)])
def test_whole_numbers_of_all_libraries(value: Any) -> None:
    number = whole_number("count", value, 1)
    assert number == 4
    assert type(number) is int


@pytest.mark.parametrize("value", [1.5, 2.0, "2", None, torch.tensor([1, 2])])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(InputError, match=r"^count is .*; expected a whole number, at least 1, or None for all\.$"):
        whole_number("count", value, 1, ", or None for all")
    with pytest.raises(InputError, match=r"^seed is .*; expected a whole number\.$"):
        whole_number("seed", value)


def test_whole_numbers_below_the_limit() -> None:
    with pytest.raises(InputError, match=r"^count is 0; expected at least 1\.$"):
        whole_number("count", 0, 1)


def test_what_cannot_be_called() -> None:
    check_callable("progress", None, "with words")
    check_callable("progress", print, "with words")
    with pytest.raises(InputError, match=r"^progress is True; expected None, or a function that is called with words"):
        check_callable("progress", True, "with words")
