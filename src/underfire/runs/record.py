"""The JSON files of a run's folder: the entries that each must have, which a damaged or edited file may lack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from underfire.errors import StoreError, plain_words
from underfire.runs.cells import Cell


def _with_attack(cells: list[Cell]) -> list[Cell]:
    kinds = {cell.label: cell.kind for cell in cells if cell.read_by}
    if len(kinds) < len(cells) or kinds.get("clean") != "clean" or "attack" not in kinds.values():
        raise ValueError("clean images and an attack, each with a label of its own and with interpreters")
    return cells


def _interval(values: dict[str, Any]) -> dict[str, Any]:
    """Check the mean of a measure with its interval, or the curve of joint success, which holds lists."""
    ends = [values.get(name, "") for name in ("mean", "low", "high")]
    number = isinstance(values.get("n"), int) and all(isinstance(end, int | float | None) for end in ends)
    if not number and "rates" not in values:
        raise ValueError("a number with its interval: mean, low, high and n")
    return values


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Interval = Annotated[dict[str, Any], AfterValidator(_interval)]


class Settings(BaseModel):
    classifier: str


class Images(BaseModel):
    attacked: Count
    considered: Count
    correctly_classified: Count
    unreadable: list[Any] = []
    unusable: list[Any] = []

    @model_validator(mode="after")
    def _attacked_of_considered(self) -> Images:
        if self.attacked > self.considered:
            raise ValueError("at most as many attacked as considered")
        return self


class Begun(BaseModel):
    """``run.json`` as far as a resumed run reads it, which compares all other entries with what was asked for."""

    format: Positive = 1
    shard_size: Positive = 1
    shards: Positive = 1
    cells: list[Any] = []
    starts: list[Any] = []
    made: list[Any] = []


class Started(BaseModel):
    """``run.json`` in any format."""

    format: Positive = 1
    finished: bool = False


class Former(Started):
    """``run.json`` in format 1."""

    configuration: Settings
    class_names: list[str] | None = None


class Record(Former):
    """``run.json`` in later formats."""

    shards: Positive = 1
    cells: Annotated[list[Cell], AfterValidator(_with_attack)]
    images: Images
    attacks: dict[str, str] = {}
    transfer: dict[str, Any] = {}


class Compared(BaseModel):
    """An attack beside the attack on the prediction alone."""

    paired_difference: dict[str, Interval]


class Read(BaseModel):
    """The entries of ``summary.json`` that belong to one interpreter."""

    attacks: dict[str, dict[str, Interval]]
    against_prediction_only: Compared | None = None


class Results(BaseModel):
    joint_success: dict[str, Interval]
    interpreters: dict[str, Read]
    chance: dict[str, dict[str, Interval]] = {}


class Summary(BaseModel):
    """``summary.json``: results, or such results for each eps or attack."""

    format: Positive = 1
    by_eps: list[Results] = []
    by_attack: list[Results] = []
    joint_success: dict[str, Interval] | None = None
    interpreters: dict[str, Read] | None = None
    chance: dict[str, dict[str, Interval]] = {}

    @model_validator(mode="after")
    def _with_results(self) -> Summary:
        if not (self.by_eps or self.by_attack) and None in (self.joint_success, self.interpreters):
            raise ValueError("joint_success and interpreters")
        return self


class FormerSummary(Summary):
    """``summary.json`` in format 1, which holds what ``run.json`` does not."""

    attack: str
    images: Images
    readers: list[str] = []


class Noticed(BaseModel):
    """One row of ``detection.json``: a detector's counts and rates for one attack or control."""

    detector: str
    cell: str
    kind: str
    attack: str
    threshold: float
    n: Count
    adaptive: bool | None
    auc: Interval | None
    detection: Interval | None
    joint_success: Interval | None
    triple_success: Interval | None


class Detection(BaseModel):
    """``detection.json``."""

    rows: list[Noticed]


REPAIR = "Bring it back from a copy, or make the run again with --overwrite."
"""The end of the error message about a damaged ``run.json``: the two ways to get a run that can be read."""

EXPECTED: Mapping[str, str] = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "dataclass_type": "a table",
    "greater_than_equal": "a whole number from {ge}",
}
"""Words for what was expected, by pydantic's type of error."""


def check_entries(path: Path, content: Any, shape: type[BaseModel], repair: str) -> None:
    """Check the entries of a JSON file. Entries that the shape does not name may be anything.

    Args:
        path: the file, for the error message.
        content: what it holds, as JSON values.
        shape: the entries that it must have: one of the classes above.
        repair: a sentence that says what to do about a damaged file.

    Raises:
        StoreError: an entry is missing, or is something else.
    """
    # Names of files that are no UTF-8 hold halves of characters, which stand for bytes and which pydantic refuses.
    text = json.dumps(content, ensure_ascii=False).encode(errors="replace")
    try:
        shape.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise StoreError(f"{path} is damaged: {_said(first)}. {repair}") from error


def _said(error: ErrorDetails) -> str:
    entry = ".".join(map(str, error["loc"])) or "the content"
    if error["type"] == "missing":
        return f"{entry} is missing"
    expected = EXPECTED.get(error["type"], plain_words(error["msg"])).format(**error.get("ctx", {}))
    return f"{entry} is {error['input']!r:.60}; expected {expected.removeprefix('expected ')}"
