"""Exports of a whole campaign: one table of all its finished runs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.campaigns.campaign import TEXT, run_inline, write_campaign
from tests.reports.fakes import Fake
from tests.runs.runs import make_command
from underfire.campaigns.folder import Campaign
from underfire.errors import InputError
from underfire.reports.exports import export
from underfire.reports.exports.csv import write_csv
from underfire.runs import Run

MORE = '[[include]]\ninterpreters = "cam"\ncount = 3\nsteps = [1, 1]\n'


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    folder = tmp_path_factory.mktemp("campaign")
    return run_inline(write_campaign(folder, TEXT + MORE), folder / "grid")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_the_rows_of_all_runs(campaign: Campaign, tmp_path: Path) -> None:
    rows = read(export(campaign.path, "csv", tmp_path / "all.csv"))
    for entry in campaign:
        alone = read(export(campaign.folder_of(entry.name), "csv", tmp_path / "one.csv"))
        own = [row for row in rows if row["run"] == entry.name]
        assert [{name: row[name] for name in alone[0]} for row in own] == alone
        settings = campaign.configuration(entry.name)
        assert {row["count"] for row in own} == {str(settings["count"])}
        assert {row["setting_steps"] for row in own} == {",".join(map(str, settings["steps"]))}
    assert len(rows) == sum(len(campaign.run(entry.name).rows()) for entry in campaign)


def test_csv_has_the_columns_of_pandas(campaign: Campaign, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    rows = read(export(campaign.path, "csv", tmp_path / "all.csv"))
    assert list(rows[0]) == list(campaign.to_pandas())


def test_columns_that_a_run_does_not_have_are_empty(tmp_path: Path) -> None:
    """Also if two runs have other types of one column."""
    runs: list[Any] = []
    for number, values in enumerate(([1, 2], [0.5, None], None)):
        run = Run(Fake(count=1).write(tmp_path / f"run{number}"))
        path = run.path / "results.parquet"
        table = pq.read_table(path).slice(0, 2)
        if values is not None:
            table = table.append_column("mine", pa.array(values))
        pq.write_table(table, path, write_page_checksum=True)
        runs.append((run, {"run": run.name, "eps": number / 10, "agreed": number == 0 or None, "label": str(number)}))
    write_csv(runs, tmp_path / "all.csv")
    rows = read(tmp_path / "all.csv")
    assert [row["mine"] for row in rows] == ["1", "2", "0.5", "", "", ""]
    assert [row["run"] for row in rows] == ["run0"] * 2 + ["run1"] * 2 + ["run2"] * 2
    assert [row["setting_eps"] for row in rows[::2]] == ["0", "0.1", "0.2"]
    assert [row["agreed"] for row in rows[::2]] == ["true", "", ""]
    assert [row["setting_label"] for row in rows[::2]] == ["0", "1", "2"]


def test_latex_has_one_table_of_all_runs(campaign: Campaign, tmp_path: Path) -> None:
    lines = export(campaign.path, "latex", tmp_path / "all.tex").read_text().splitlines()
    assert sum(line.startswith(r"\begin{tabular}{lllrrrrr}") for line in lines) == 1
    assert any(line.startswith("run & interpreter & attack & joint") for line in lines)
    for entry in campaign:
        alone = export(campaign.folder_of(entry.name), "latex", tmp_path / "one.tex").read_text().splitlines()
        rows = [line for line in alone if line.startswith(("cam &", "grad &"))]
        name = entry.name.replace("_", r"\_")
        assert rows
        assert [line for line in lines if line.startswith(f"{name} &")] == [f"{name} & {row}" for row in rows]
    assert any(rf"{{l}}{{{campaign.entries[0].name.replace('_', chr(92) + '_')}: adv2, cam: " in line for line in lines)


def test_the_command_takes_a_campaign(
    campaign: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = make_command(monkeypatch, capsys)
    ended = command("export", campaign.path, "--format", "csv", "--out", tmp_path / "x.csv")
    assert (ended.code, ended.err) == (0, "")
    assert len(read(tmp_path / "x.csv")) > 1
    with pytest.raises(InputError, match="is a campaign, and the format 'maps' takes one run"):
        export(campaign.path, "maps", tmp_path / "x.maps")
