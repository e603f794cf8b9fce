"""Files of a run that are JSON, and lack entries or hold other types: each report says which file and which entry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runs.runs import Written
from underfire.errors import StoreError
from underfire.reports.account import Account, accounts_of
from underfire.reports.detected import Detected
from underfire.runs import Run


@pytest.fixture
def copied(small: Written, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small.folder, tmp_path / "run"))


def edit(path: Path, entry: str, change: Callable[[Any, Any], None]) -> None:
    content = json.loads(path.read_text())
    *names, last = [int(name) if name.isdigit() else name for name in entry.split("/")]
    place = content
    for name in names:
        place = place[name]
    change(place, last)
    path.write_text(json.dumps(content))


def look(folder: Path) -> list[Account]:
    """Read what a page reads of a run's intervals."""
    accounts = accounts_of(Run(folder))
    for account in accounts:
        for name in account.part.interpreters:
            for role in account.part.labels:
                assert {"joint_success", "joint_success_curve", "l2"} <= account.group(role, name).keys()
            assert set(account.chance(name)) == {"other_map", "average_map"}
            assert account.joint("attack", name)["n"] == (account.lead(name) or {})["n"] == 2
    return accounts


RUN = ("configuration", "configuration/classifier", "cells", "cells/0/read_by", "cells/1/key", "images/attacked")
SUMMARY = ("interpreters", "joint_success", "interpreters/cam/attacks", "interpreters/cam/attacks/clean/l2/low")


@pytest.mark.parametrize(
    ("name", "entry"), [*(("run", each) for each in RUN), *(("summary", each) for each in SUMMARY)]
)
def test_a_missing_entry_is_named(copied: Path, name: str, entry: str) -> None:
    """Regression: KeyError."""
    edit(copied / f"{name}.json", entry, lambda place, last: place.pop(last))
    with pytest.raises(StoreError) as caught:
        look(copied)
    said, parts = str(caught.value), entry.split("/")
    assert f"{name}.json is damaged: " in said
    assert parts[-1] in said or ".".join(parts[:-1]) in said
    assert ("--overwrite" if name == "run" else "report") in said


TEXTS = ("configuration/classifier", "cells/1/key")
OTHER = ("configuration", "cells", "cells/0", "cells/0/read_by", "images/attacked", "format", "shards", "finished")


@pytest.mark.parametrize(
    ("entry", "value"),
    [*((entry, value) for entry in TEXTS for value in ({}, 3, None)), *((entry, "x") for entry in OTHER)],
)
def test_other_types_in_the_record_are_named(copied: Path, entry: str, value: Any) -> None:
    """Regression: TypeError, AttributeError and ValueError."""
    edit(copied / "run.json", entry, lambda place, last: place.__setitem__(last, value))
    with pytest.raises(StoreError, match=r"run\.json is damaged: .* is .*; expected .*--overwrite"):
        look(copied)


@pytest.mark.parametrize("entry", SUMMARY)
@pytest.mark.parametrize("value", [[], "x"])
def test_other_types_in_the_summary_are_named(copied: Path, entry: str, value: Any) -> None:
    edit(copied / "summary.json", entry, lambda place, last: place.__setitem__(last, value))
    with pytest.raises(
        StoreError, match=r"summary\.json is damaged: .*; expected .*'underfire report .* --tables' makes"
    ):
        look(copied)


@pytest.mark.parametrize(
    "entry",
    [
        "interpreters/cam/attacks/clean/l2",
        "interpreters/cam/attacks/bim/joint_success_curve",
        "interpreters/cam/against_prediction_only/paired_difference/joint_success",
        "chance/cam/other_map",
    ],
)
def test_intervals_that_the_summary_lacks_are_computed(copied: Path, entry: str) -> None:
    edit(copied / "summary.json", entry, lambda place, last: place.pop(last))
    look(copied)


@pytest.mark.parametrize("content", [{}, {"rows": 3}, {"rows": [3]}, {"rows": [{"detector": "a"}]}])
def test_a_damaged_record_of_detectors_is_named(tmp_path: Path, content: Any) -> None:
    (tmp_path / "detection.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"detection\.json is damaged: rows.* 'underfire detect evaluate .* makes it"):
        Detected.of(tmp_path)
