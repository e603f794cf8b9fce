"""``underfire run``, ``status``, and ``report`` of a whole campaign."""

from __future__ import annotations

from pathlib import Path

import pytest

import underfire as uf
from tests.runs.runs import Command

CAMPAIGN = """name = "two maps"
[settings]
data = "digits:test"
classifier = "digits-resnet"
count = 3
steps = [1, 1]
eps = "0.2"
[grid]
interpreter = ["cam", "grad"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "campaign.toml"
    path.write_text(CAMPAIGN)
    return path


def test_a_campaign_from_dry_run_to_report(command: Command, file: Path, tmp_path: Path) -> None:
    place = tmp_path / "grid"
    said = command("run", str(file), "--out", str(place), "--dry-run").out
    assert "2 runs, 8 cells" in said
    assert not place.exists()
    said = command("run", str(file), "--out", str(place)).out
    assert "2 of 2 runs are finished" in said
    assert (place / "page.html").read_text().count("two maps") >= 1
    for name in ("cam", "grad"):
        assert {"page.html", "figure.png", "results.parquet"} <= {e.name for e in (place / "runs" / name).iterdir()}
    page = place / "runs" / "cam" / "page.html"
    before = page.stat().st_mtime_ns
    said = command("run", str(file), "--out", str(place), "--resume").out
    assert "2 of 2 runs are finished" in said
    assert page.stat().st_mtime_ns == before
    lines = command("status", str(place)).out.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["cam", "finished", "4/4"], ["grad", "finished", "4/4"]]
    (place / "page.html").unlink()
    said = command("report", str(place)).out
    assert "two maps" in (place / "page.html").read_text()
    assert all(name in said for name in ("cam", "grad"))
    said = "".join(command("transfer", str(place)).said.split())  # a long path may be broken anywhere
    assert f"suchas{place}/runs/cam." in said
    elsewhere = command("transfer", str(place / "runs" / "cam"), "--out", str(place))
    assert "holds a run or a campaign" in elsewhere.said
    campaign = uf.Campaign(place)
    assert [entry.values for entry in campaign] == [{"interpreters": "cam"}, {"interpreters": "grad"}]
    assert campaign.run("cam").summary()["joint_success"].keys() == {"cam"}


def test_wrong_use_is_said_in_words(command: Command, file: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "grid")
    assert "part is '3'; expected I/N" in command("run", str(file), "--out", place, "--part", "3").err
    assert "part is '4/3'" in command("run", str(file), "--out", place, "--part", "4/3").err
    assert "--part and --begin contradict" in command("run", str(file), "--out", place, "--part", "1/3", "--begin").said
    ray = command("run", str(file), "--out", place, "--part", "1/3", "--ray", "local")
    assert "--part and --ray contradict" in ray.said
    assert "cannot be read" in command("run", str(tmp_path / "no.toml"), "--out", place).err
    assert "campaign.json is missing" in command("status", str(tmp_path)).err
    assert "campaign.json is missing" in command("status", str(file)).said
    file.write_text(CAMPAIGN.replace("digits-resnet", "digits-resnot"))
    tried = command("run", str(file), "--out", place, "--dry-run")
    assert (tried.code, "2 of 2 runs are impossible" in tried.said) == (2, True)
    file.write_text(CAMPAIGN.replace("count", "cuont"))
    assert "line 5: " in command("run", str(file), "--out", place).err
    assert not (tmp_path / "grid").exists()
    assert command("run", str(file), "--out", place).code == 2


def test_attack_with_workers_is_the_same_run(command: Command, tmp_path: Path) -> None:
    """By the saved images: one code path for ``attack`` and campaigns."""
    common = ("attack", "--data", "digits:test", "--classifier", "digits-resnet", "--eps", "0.2", "--steps", "1,1")
    for name, more in (("one", ()), ("two", ("--workers", "2"))):
        command(*common, "--count", "4", "--batch-size", "2", "--no-page", "--out", str(tmp_path / name), *more)
    images = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*.png"))]
    assert len(images) == 16
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in images)
