"""Finished runs whose tables an earlier version made by another limit of a kept map: never mixed with today's."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import core_tables, grid_tables
from tests.reports.fakes import Fake
from tests.runs.conftest import small_config
from tests.runs.former import as_before
from tests.runs.runs import Command, Written, content
from underfire.errors import UnderfireWarning
from underfire.reports.account import accounts_of
from underfire.reports.exports import export
from underfire.runs import Run, run_attack
from underfire.runs.cells import Cell

JOINT = 0.123


def by_another_limit(folder: Path) -> Path:
    """Change the tables to those of a version without a chance control, whose limit gave other numbers."""
    summary = json.loads((folder / "summary.json").read_text())
    for name, share in summary["joint_success"].items():
        summary["joint_success"][name] = share | {"mean": JOINT}
    del summary["chance"]
    (folder / "summary.json").write_text(json.dumps(summary))
    rows = pq.read_table(folder / "results.parquet")
    kept = [name for name in rows.column_names if not name.startswith("chance_")]
    pq.write_table(rows.select(kept), folder / "results.parquet")
    record = json.loads((folder / "run.json").read_text())
    if record.pop("made", None):  # a version without manifests wrote no hashes of the tables
        record["format"] = 2
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def old(small: Written, tmp_path: Path) -> Path:
    return by_another_limit(Path(shutil.copytree(small.folder, tmp_path / "old")))


def test_resuming_makes_the_tables_again(small: Written, old: Path) -> None:
    """Regression: the summary was that of the former limit, and the page and the terminal had today's numbers."""
    with pytest.warns(UnderfireWarning, match="counted joint success by another limit of a kept map: results"):
        found = run_attack(small_config(), old, resume=True)
    assert found == small.summary
    written = Written(old)
    assert written.summary == small.summary
    assert written.rows == small.rows
    before = content(old)
    assert run_attack(small_config(), old, resume=True) == small.summary
    assert content(old) == before


def test_resuming_format_1_says_that_the_tables_stay(small: Written, tmp_path: Path) -> None:
    folder = by_another_limit(as_before(small, tmp_path / "former"))
    before = content(folder)
    with pytest.warns(UnderfireWarning, match=r"by another limit .* They cannot be made again"):
        found = run_attack(small_config(), folder, resume=True)
    assert found == Run(folder).summary()
    assert found["joint_success"]["cam"]["mean"] != JOINT
    assert content(folder) == before


def test_report_and_export_say_that_the_tables_are_of_another_limit(
    command: Command, old: Path, tmp_path: Path
) -> None:
    said = "count joint success by another limit of a kept map than today's page"
    ended = command("report", old)
    assert (ended.code, said in ended.said) == (0, True)
    with pytest.warns(UnderfireWarning, match=f"{said}.*report .* --tables"):
        export(old, "csv", tmp_path / "rows.csv")
    ended = command("report", old, "--tables")
    assert (ended.code, said in ended.said) == (0, False)
    export(old, "csv", tmp_path / "rows.csv")


def test_the_core_tables_leave_out_a_chance_control_that_is_not_there(small: Written, old: Path) -> None:
    """Regression: KeyError."""
    config = small.run["configuration"]
    today, before = (core_tables.tables([grid_tables.Cell("c", config, folder)]) for folder in (small.folder, old))
    assert "average map (chance)" in today
    assert "(chance)" not in before
    assert before.count("\n") == today.count("\n") - 2


def test_what_is_kept_of_a_cell_makes_the_same_table_and_knows_no_paths(small: Written, tmp_path: Path) -> None:
    config = small.run["configuration"]
    core_tables.keep(grid_tables.Cell("c", config, small.folder), tmp_path)
    kept, whole = (grid_tables.Cell("c", config, folder) for folder in (tmp_path / "c", small.folder))
    assert core_tables.tables([kept]) == core_tables.tables([whole])
    assert {row["path"] for row in kept.rows["adv2"].values()} == {
        Path(row["path"]).name for row in whole.rows["adv2"].values()
    }
    assert sorted(file.name for file in (tmp_path / "c").iterdir()) == ["results.parquet", "summary.json"]


class EachReadByAll(Fake):
    """One attack for each interpreter, whose images both interpreters read, as in a transfer."""

    @property
    def cells(self) -> list[Cell]:
        return [replace(cell, read_by=self.interpreters) for cell in super().cells]


def test_several_results_of_today_are_of_no_earlier_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: fresh runs of a transfer were called those of an earlier version, and computed anew each time."""
    folder = EachReadByAll(interpreters=("cam", "grad"), each=True).write(tmp_path / "run")
    run = Run(folder)
    held = json.loads((folder / "summary.json").read_text())["by_attack"]
    assert len(held) == 2
    run.warn_if_outdated()  # a warning would be an error
    monkeypatch.setattr("underfire.reports.account.group", None)
    monkeypatch.setattr("underfire.reports.account.chance", None)
    for account, results in zip(accounts_of(run), held, strict=True):
        for name in account.part.interpreters:
            assert account.group("attack", name) == results["interpreters"][name]["attacks"]["adv2"]
            assert account.chance(name) == results["chance"][name]
    del held[1]["chance"]
    (folder / "summary.json").write_text(json.dumps({"format": 3, "by_attack": held}))
    with pytest.warns(UnderfireWarning, match="are of an earlier version"):
        run.warn_if_outdated()
