"""A column of a user's own measure says what it means, and damaged words cost no numbers."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pyarrow as pa
import pytest

from underfire.attacks.measure import Measure
from underfire.errors import InputError
from underfire.runs.columns import BEFORE, measure_of, schema

OWN = Measure("worst_cell", "image", "float", "worst", "the cell that moved most", digits=2, better="lower")


@pytest.mark.parametrize("bounds", [None, "x", (1, 0), (0,), ("0", 1), (0.0, math.nan)])
def test_bounds_that_are_none_are_refused(bounds: Any) -> None:
    with pytest.raises(InputError, match=r"bounds is .*expected the least and the largest value"):
        dataclasses.replace(OWN, bounds=bounds)


@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (0.0, 1.0), (0.0, math.inf)])
def test_a_measure_comes_back_as_it_was(bounds: tuple[float, float]) -> None:
    own = dataclasses.replace(OWN, bounds=bounds)
    assert measure_of(schema([own], settled=True).field(len(BEFORE))) == own


@pytest.mark.parametrize(
    "told",
    [
        b"{",
        b"\xff",
        b"[1]",
        b"null",
        b"{}",
        json.dumps({"per": "pixel", "digits": -1, "better": 3, "heading": None, "meaning": []}).encode(),
        json.dumps({"bounds": [0]}).encode(),
        json.dumps({"bounds": ["0", 1]}).encode(),
        json.dumps({"bounds": [1, 0]}).encode(),
        json.dumps({"bounds": [math.nan, 1]}).encode(),
        json.dumps({"digits": True, "unknown": 1}).encode(),
    ],
)
def test_words_that_make_no_sense_are_those_of_the_name(told: bytes) -> None:
    found = measure_of(pa.field("worst_cell", pa.int64(), metadata={"measure": told}))
    assert found == Measure("worst_cell", "map", "int", "worst cell", "worst cell")


def test_what_makes_sense_is_kept() -> None:
    told = json.dumps({"per": "image", "digits": "many"}).encode()
    found = measure_of(pa.field("worst_cell", pa.bool_(), metadata={"measure": told}))
    assert found == Measure("worst_cell", "image", "bool", "worst cell", "worst cell")
