"""Checks of arguments refuse wrong values, and name the argument, the value and what was expected."""

from __future__ import annotations

import math

import pytest

from underfire.arguments import check_at_least, check_choice, check_known
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
