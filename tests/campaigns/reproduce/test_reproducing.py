"""A reproduction from the command to its tables, on a small network."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.reports.accessible import faults
from tests.reports.browsing import Opened, chromium
from tests.reports.parsed import Parsed
from tests.runs.runs import Command, make_command
from underfire import cli
from underfire.campaigns.folder import Campaign
from underfire.campaigns.reproduce.findings import QUANTITIES, read_findings
from underfire.campaigns.reproduce.papers import PREDICTION_ONLY
from underfire.runs import Run

OPTIONS = (
    *("--data", "digits:test", "--classifier", "digits-resnet", "--interpreter", "cam,grad", "--count", "3"),
    *("--count", "grad:2", "--steps", "1,1", "--budget", "2", "--eps", "0.2"),
)
ITEMS = ("table3", "figure4", "figure5", "table9", "figure14", "joint")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reproduction, made once."""
    folder = tmp_path_factory.mktemp("reproduction") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["underfire", "reproduce", "adv2", *ITEMS, *OPTIONS, "--out", str(folder)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    assert not stopped.value.code
    return folder


def test_every_number_is_that_of_its_run(made: Path) -> None:
    campaign, findings = Campaign(made), read_findings(made / "findings.parquet")
    assert len(campaign.finished) == len(campaign) == 6
    for entry in campaign.finished:
        summary, config = campaign.run(entry.name).summary(), campaign.configuration(entry.name)
        (name,) = config["interpreters"]
        own = [each for each in findings if each.run == entry.name and each.reader == name]
        assert [each.attack for each in own] == [config["attack"], PREDICTION_ONLY]
        for finding, attack in zip(own, (summary["attack"], summary["control"]), strict=True):
            group = summary["interpreters"][name]["attacks"][attack]
            assert len(finding.image_ids) == (2 if name == "grad" else 3)
            for quantity, of_group in (
                *(("success", "success"), ("map_l1", "map_l1"), ("map_iou", "map_iou"), ("seconds", "seconds")),
                *(("confidence", "confidence_of_successes"), ("joint_success", "joint_success")),
            ):
                assert finding.interval(quantity).to_dict() == pytest.approx(group[of_group]), quantity
            noise = np.mean(list(finding.by_image("noise").values()))
            assert noise == pytest.approx(1 - group["ssim"]["mean"])


def test_other_interpreters_read_the_same_images(made: Path) -> None:
    findings = read_findings(made / "findings.parquet")
    transfers = [each for each in findings if each.reader != each.interpreter]
    assert {(each.beside, each.attack, each.interpreter, each.reader) for each in transfers} == {
        ("adv2", attack, *pair) for attack in ("adv2", PREDICTION_ONLY) for pair in (("cam", "grad"), ("grad", "cam"))
    }
    for each in transfers:
        own = next(o for o in findings if (o.run, o.attack, o.reader) == (each.run, each.attack, each.interpreter))
        assert each.image_ids == own.image_ids
        assert each.by_image("success") == own.by_image("success")
        assert each.by_image("map_l1") != own.by_image("map_l1")
        reading = Run(made / "transfers" / each.run / each.reader / "digits-resnet")
        label = "adv2" if each.attack == "adv2" else "bim"
        assert list(each.by_image("map_l1").values()) == list(reading.column(label, each.reader, "map_l1"))


def test_the_files_show_all_items(made: Path) -> None:
    text = (made / "reproduction.md").read_text(encoding="utf-8")
    for heading in ("Table 3", "Figure 4", "Figure 5", "Table 9", "Figure 14", "Joint"):
        assert f"## {heading}: " in text
    assert (
        "Data: digits:test; steps (warm-up, joint): 1,1; steps of auto: 2; radius of PGD: 0.2; settings: paper; "
        "seed: 0." in text
    )
    assert "(0.240)" in text  # the published distance of CAM's maps under ADV2 on Grad
    for name in ("charts/figure5-map_l1.svg", "pictures/figure4-digits-resnet-pgd-adv2.png"):
        assert f"]({name})" in text
        assert (made / name).stat().st_size > 500


def test_the_page_is_accessible(made: Path) -> None:
    """Every picture has an alt text that says what it shows, every table and heading a name, in order."""
    text = (made / "reproduction.html").read_text(encoding="utf-8")
    assert faults(text) == []
    shown = [each["alt"] for each in Parsed(text).all("img")]
    assert len(set(shown)) == len(shown) == 5
    assert all(len(about) > 20 for about in shown)


def test_the_page_opens_without_errors(made: Path) -> None:
    with chromium() as browser:
        opened = Opened(browser, (made / "reproduction.html").as_uri())
        assert opened.page.locator(".claims li").count() >= 3
        assert opened.page.locator("figure.drawing img").count() == 5
        opened.page.locator("figure.drawing img").last.scroll_into_view_if_needed()
        opened.wait("[...document.images].filter(image => image.complete && image.naturalWidth > 0).length > 0")
        assert opened.wrong == []


def test_tables_are_made_again_from_the_numbers_alone(command: Command, made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "findings.parquet", tmp_path)
    command("reproduce", "adv2", "table3", "figure5", "table9", "joint", "--out", str(tmp_path), "--show")
    ours, theirs = ((place / "reproduction.md").read_text(encoding="utf-8") for place in (tmp_path, made))
    assert "Data: digits:test; steps" in ours
    assert [line for line in ours.splitlines() if line.startswith("|")] == [
        line for line in theirs.splitlines() if line.startswith("|")
    ]


def test_a_second_start_makes_nothing_again(command: Command, made: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in made.glob("**/results.parquet")}
    assert len(times) == 8
    said = command("reproduce", "adv2", *ITEMS, *OPTIONS, "--out", str(made), "--resume").out
    assert "ADV2 reaches its class as often" in said
    assert {path: path.stat().st_mtime_ns for path in made.glob("**/results.parquet")} == times


def test_more_items_can_be_added_later(command: Command, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(made, folder)
    times = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/results.parquet")}
    assert command("reproduce", "adv2", "table6", *OPTIONS, "--out", str(folder), "--resume").code == 0
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert len(Campaign(folder)) == 10
    text = (folder / "reproduction.md").read_text(encoding="utf-8")
    assert "## Table 6: " in text
    assert "## Table 3: " not in text


def test_an_interpreter_that_cannot_be_had_leaves_the_others(command: Command, tmp_path: Path) -> None:
    given = ("--data", "digits:test", "--classifier", "digits-resnet", "--interpreter", "cam,rts", "--count", "2")
    options = (*given, "--steps", "1,1", "--budget", "2", "--eps", "0.2")
    said = command("reproduce", "adv2", "table3", *options, "--out", str(tmp_path / "out")).out
    assert "digits_resnet-rts-adv2-pgd-benign: " in said
    text = (tmp_path / "out" / "reproduction.md").read_text(encoding="utf-8")
    assert "## Missing" in text
    assert "| digits-resnet | ADV2 |" in text


def test_bad_input(command: Command, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"))
    for given, said in (
        (("reproduce", "adv2", "table10", *OPTIONS, *out), "table10 of adv2 is not made"),
        (("reproduce", "adv2", *out), "data is missing: give --data"),
        (("reproduce", "adv2", "--data", "digits:test", *out), "classifier is missing"),
        (("reproduce", "adv2", *OPTIONS, "--count", "mask:0", *out), "count is 'mask:0'; expected a number"),
        (("reproduce", "adv2", "--show", "--out", str(tmp_path)), "holds no campaign"),
    ):
        ended = command(*given)
        assert ended.code == 2
        assert said in " ".join(ended.err.split())
    file = tmp_path / "more.toml"
    file.write_text('attack = "auto"')
    ended = command("reproduce", "adv2", *OPTIONS, *out, "--config", str(file))
    assert "every run of a paper has its own" in " ".join(ended.err.split())
    assert not (tmp_path / "out").exists()


def test_what_there_is_to_make(command: Command) -> None:
    said = command("reproduce", "advedge", "--list").out
    assert "table4" in said
    assert "not made: a drawing of the method" in said
    assert set(QUANTITIES) >= {"noise", "edge_energy"}
