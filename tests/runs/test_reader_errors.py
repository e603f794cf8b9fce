"""``Run``, the reader: names that a run does not have, and runs that are not finished."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import small_config
from tests.runs.former import as_before
from tests.runs.runs import Written
from tests.runs.test_resume import Watched
from underfire.errors import InputError, StoreError
from underfire.runs import Run, run_attack


def test_unknown_names_are_refused(full: Written, tmp_path: Path) -> None:
    """Regression: KeyErrors, and an empty array for an interpreter that read nothing."""
    for run in (Run(full.folder), Run(as_before(full, tmp_path / "former"))):
        image_id = run.image_ids[0]
        readers = ((run.column, "l2"), (run.row, image_id), (run.map, image_id), (run.wanted, image_id))
        control = next(label for label, cell in run.cells.items() if cell.kind == "control")
        for read, last in readers:
            with pytest.raises(InputError, match=rf"cell is 'nosuch'; the run has clean, .*{control}.*\."):
                read("nosuch", "cam", last)
            with pytest.raises(InputError, match=r"interpreter is 'gradcam'; cell 'adv2' has cam, grad\."):
                read("adv2", "gradcam", last)
        with pytest.raises(InputError, match=r"cell is 'nosuch'"):
            run.rows(cell="nosuch")
        with pytest.raises(
            InputError, match=r"measure is 'l3'; the run has success, .*, joint_success_all, .*, chance_average_map\."
        ):
            run.column("adv2", "cam", "l3")
        with pytest.raises(
            InputError, match=r"'joint_success', which all images .*run\.column\(cell, interpreter, 'joint"
        ):
            run.rows(["label", "joint_success"])
        with pytest.raises(InputError, match=r"column is 'l3'; the run has position, image_id, .*"):
            run.rows(["l2", "l3"])


def test_joint_success_is_a_column(full: Written, tmp_path: Path) -> None:
    """As in results.parquet."""
    now, before = Run(full.folder), Run(as_before(full, tmp_path / "former"))
    for name in ("joint_success", "joint_success_all"):
        for label, interpreter in product(now.cells, now.interpreters):
            expected = [row[name] for row in full.of(label, interpreter)]
            assert now.column(label, interpreter, name).tolist() == expected
            if label != "bim":
                assert before.column(label, interpreter, name).tolist() == expected


@pytest.mark.parametrize("at", [0, 3, 4, 6])
def test_an_unfinished_run_says_so(tmp_path: Path, at: int) -> None:
    """Regression: an ArrowInvalid, and no image at all. Four cells in two shards."""
    with pytest.MonkeyPatch.context() as patch:
        Watched(patch, at, moment="after")
        with pytest.raises(KeyboardInterrupt):
            run_attack(small_config(), tmp_path, batch_size=1)
    run = Run(tmp_path, finished=False)
    assert (run.images["attacked"], list(run.cells)) == (2, ["clean", "bim", "adv2", "noise"])
    calls: list[Any] = [
        run.rows,
        run.summary,
        lambda: run.column("noise", "cam", "l2"),
        *([lambda: run.image_ids, lambda: run.row("noise", "cam", "digits/00004")] if at < 6 else []),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"is not finished: part [12] of 2 of \w+ is missing\. Finish it"):
            call()
    if at == 6:
        assert run.rows(["image_id"], "bim").num_rows == 2, "cells that are complete can be read"


def test_an_unfinished_run_of_an_earlier_version_says_so(small: Written, tmp_path: Path) -> None:
    """It wrote the number of shards down when it finished."""
    folder = Path(shutil.copytree(small.folder, tmp_path / "copied"))
    record = {name: value for name, value in small.run.items() if name != "shards"} | {"finished": False}
    (folder / "run.json").write_text(json.dumps(record))
    for read in (Run.rows, Run.summary):
        with pytest.raises(StoreError, match="is not finished: finish it with --resume"):
            read(Run(folder, finished=False))
    assert run_attack(small_config(), folder, resume=True) == small.summary
