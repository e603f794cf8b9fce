"""``uf.Campaign``: names of runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import underfire as uf
from tests.campaigns.campaign import TEXT, run_inline, write_campaign
from underfire.errors import InputError


def test_an_unknown_run_is_named_with_the_known_ones(tmp_path: Path) -> None:
    """Regression: "runs/grid/runs/camm holds no finished run: run.json is missing"."""
    run_inline(write_campaign(tmp_path), tmp_path / "grid")
    campaign = uf.Campaign(tmp_path / "grid")
    assert {name: campaign.run(name).path.name for name in ("cam", "grad")} == {"cam": "cam", "grad": "grad"}
    with pytest.raises(InputError, match=r"unknown run 'camm'\. Did you mean 'cam'\? Known: cam, grad\."):
        campaign.run("camm")


def test_all_rows_are_one_table(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    run_inline(write_campaign(tmp_path), tmp_path / "grid")
    campaign = uf.Campaign(tmp_path / "grid")
    table = campaign.to_pandas()
    assert list(table["run"].unique()) == ["cam", "grad"]
    assert {run: set(rows["interpreters"]) for run, rows in table.groupby("run")} == {"cam": {"cam"}, "grad": {"grad"}}
    for name, rows in table.groupby("run"):
        alone = campaign.run(name).to_pandas()
        assert rows[alone.columns].reset_index(drop=True).equals(alone)
    campaign.entries = [replace(entry, state="begun") for entry in campaign.entries]
    with pytest.raises(InputError, match=r"no run of .* is finished"):
        campaign.to_pandas()


def test_settings_are_columns_for_all_runs(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    more = '[[include]]\ninterpreters = "cam"\ncount = 3\nsteps = [1, 1]\n'
    run_inline(write_campaign(tmp_path, TEXT + more), tmp_path / "grid")
    campaign = uf.Campaign(tmp_path / "grid")
    table = campaign.to_pandas()
    settings = {run: rows.iloc[0] for run, rows in table.groupby("run")}
    expected = {entry.name: campaign.configuration(entry.name) for entry in campaign}
    assert len(expected) == 3
    for run, row in settings.items():
        assert row["count"] == expected[run]["count"]
        assert row["setting_steps"] == ",".join(map(str, expected[run]["steps"]))
