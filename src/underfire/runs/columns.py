"""The columns of a run's tables. Measures come from the table of measures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from underfire import metrics
from underfire.attacks.measure import Better, Measure, Per
from underfire.attacks.measure_table import BUILT_IN

_TEXT, _NUMBER, _COUNT, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
_TYPES = {"bool": _FLAG, "int": _COUNT, "float": _NUMBER}

BEFORE = (
    ("position", _COUNT),
    *((name, _TEXT) for name in ("image_id", "path", "image_file")),
    ("label", _COUNT),
    ("target", _COUNT),
    *((name, _TEXT) for name in ("classifier", "attack", "cell", "perturbation", "shaping")),
    ("eps", _NUMBER),
    *((name, _TEXT) for name in ("attacked_interpreters", "interpreter")),
    ("correct_before", _FLAG),
)
"""Columns before the measures. ``position`` is the image's place in the data's order, among the images that were looked
at; ``cell`` is the unique label of the attack or control in the run, and ``attack`` its name; ``eps`` is the radius of
the attack, or of the attack that a control stands beside."""
AFTER = (("seed", _COUNT),)

# One row per image, attack, checked step and interpreter: was the goal reached, and how far was the attack's own map
# from its target (null if the attack reads no map there). An image that has left the attack early has no more rows.
TRACE = pa.schema(
    [
        ("position", _COUNT),
        *((name, _TEXT) for name in ("image_id", "attack", "cell", "stage")),
        ("step", _COUNT),
        ("success", _FLAG),
        ("interpreter", _TEXT),
        ("map_l1", _NUMBER),
    ]
)


PER, BETTER = get_args(Per), get_args(Better)
TOLD = ("per", "heading", "meaning", "digits", "better", "bounds")
"""The settings of a user's own measure that a results file stores with its column, so that it can be shown later."""


def schema(measures: Sequence[Measure], settled: bool) -> pa.Schema:
    """Make the schema of results: one row per image, attack or control, and interpreter that reads.

    Args:
        measures: all measures of the run.
        settled: include measures that are settled when results are read (joint success).
    """
    chosen = [_field(measure) for measure in measures if settled or measure.compute is not None]
    return pa.schema([*BEFORE, *chosen, *AFTER])


def _field(measure: Measure) -> pa.Field:
    """Make the column of a measure. One of the user's own carries its words, because readers may lack its file."""
    if measure.name in {each.name for each in BUILT_IN}:
        return pa.field(measure.name, _TYPES[measure.kind])
    told = {name: getattr(measure, name) for name in TOLD}
    return pa.field(measure.name, _TYPES[measure.kind], metadata={"measure": json.dumps(told)})


def measure_of(field: pa.Field) -> Measure:
    """Make the measure of a column that underfire does not know; words that are not there come from its name."""
    flag, count = pa.types.is_boolean(field.type), pa.types.is_integer(field.type)
    kind: Any = "bool" if flag else "int" if count else "float"
    words = field.name.replace("_", " ")
    told: dict[str, Any] = {"per": "map", "heading": words, "meaning": words, **_told(field)}
    return Measure(name=field.name, kind=kind, **told | {"bounds": tuple(told.get("bounds", metrics.ANY))})


def _told(field: pa.Field) -> dict[str, Any]:
    """Read the words that a column carries, without those that make no sense: the numbers are still good."""
    try:
        held = json.loads((field.metadata or {}).get(b"measure", b"{}"))
    except ValueError:
        return {}
    return {k: held[k] for k in TOLD if _sensible(k, held.get(k))} if isinstance(held, dict) else {}


def _sensible(name: str, value: Any) -> bool:
    if name == "bounds":
        numbers = isinstance(value, list) and all(type(each) in (int, float) for each in value)
        return numbers and len(value) == 2 and value[0] <= value[1]
    if name == "digits":
        return type(value) is int and 0 <= value <= 17
    known = {"per": PER, "better": BETTER}
    return isinstance(value, str) and (name not in known or value in known[name])


def by_position(table: pa.Table) -> pa.Table:
    """Sort rows by image, in the data's order; rows of one image keep their order."""
    return table.take(pa.array(np.argsort(table["position"].to_numpy(), kind="stable")))
