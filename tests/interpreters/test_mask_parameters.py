"""Parameters of MASK: how they follow the image size, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from underfire.errors import InputError
from underfire.interpreters import MASK, Scaled


def test_parameters_follow_the_image_size() -> None:
    small, large = MASK().settings(32, 32), MASK().settings(224, 224)
    assert (small.rows, small.blur, small.mask_blur, small.jitter) == (8, 5, 3, 1)
    assert (small.l1, small.tv, small.learning_rate) == pytest.approx((1e-3, 1e-1, 0.05))
    assert (large.rows, large.blur, large.mask_blur, large.jitter) == (28, 21, 11, 4)
    assert (large.l1, large.tv, large.learning_rate) == pytest.approx((1e-4, 1e-2, 0.1))
    assert (large.sigma, large.mask_sigma) == pytest.approx((3.5, 2.0))
    between = MASK().settings(64, 64)
    for name in ("rows", "blur", "mask_blur", "jitter", "learning_rate"):
        assert getattr(small, name) <= getattr(between, name) <= getattr(large, name), name
    wide = MASK().settings(64, 128)
    assert wide.rows == between.rows
    assert abs(wide.columns - 2 * wide.rows) <= 1
    older = MASK.older().settings(224, 224)
    assert (older.blur, older.sigma, older.jitter, older.mask_blur) == (11, 10.0, 0, 1)
    assert older.l1 == pytest.approx(1e-2 / 784)
    assert MASK(jitter=3).settings(40, 40).jitter == 3
    for size, sigma in ((32, 10.0), (224, 70.0)):  # as wide as the picture
        quick = MASK.quick().settings(size, size)
        assert (quick.blur, quick.sigma, quick.start) == (size - 1 if size == 32 else 221, pytest.approx(sigma), 0.0)
        assert quick.l1 * quick.rows * quick.columns == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"iterations": 0}, "iterations is 0; expected a whole number, 1 or more"),
        ({"iterations": 2.5}, "iterations is 2.5; expected a whole number"),
        ({"l1": -1.0}, r"l1 is -1.0; expected 0 or more"),
        ({"start": 1.5}, r"start is 1.5; expected a number in \[0, 1\]"),
        ({"view_memory": "none"}, "view_memory is 'none'; expected 'fast' or 'small'"),
        ({"refresh_every": 0}, "refresh_every is 0"),
    ],
)
def test_wrong_parameters_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MASK(**arguments)


def test_a_parameter_of_zero_cannot_be_scaled() -> None:
    with pytest.raises(InputError, match="Give one number for all sizes"):
        Scaled(0, 4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"learning_rate": -1},
        {"cells": float("inf")},
        {"cells": 0},
        {"blur": -3},
        {"power": -1},
        {"blur_sigma": 0},
        {"mask_blur": 0},
    ],
)
def test_parameters_that_are_not_positive_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(arguments))} is .*expected a finite number above 0"):
        MASK(**arguments)
