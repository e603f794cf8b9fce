"""Scores of detectors beside a run: ``--detector``, campaign files, report, page, gallery and exports."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

import underfire as uf
from tests.detectors.conftest import EPS, Digits, changed, digits  # noqa: F401  # a fixture
from tests.runs.runs import Command, Written, make_command
from underfire.detectors import fit
from underfire.reports import detection
from underfire.reports.detected import Detected

WHERE = ("attack", "--data", "digits:test", "--classifier", "digits-resnet", "--eps", EPS)
SHORT = ("--attack", "auto", "--budget", 6, "--count", 8)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture(scope="session")
def detectors(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: F811
    home = tmp_path_factory.mktemp("detectors")
    system = digits.system.only(("cam",))
    for name, part in (("squeezing:median:2", system), ("class-map", system), ("foreign", changed(system))):
        made = fit("class-map" if name == "foreign" else name, part, digits.images[80:], digits.images[:60])
        made.save(home / name.partition(":")[0])
    return {path.name: path for path in home.iterdir()}


def evaluated(detector: Path, run: Path) -> Any:
    """What ``detect evaluate`` says."""
    fitted = uf.detectors.load(detector, uf.System(uf.classifiers.load("digits-resnet"), ["cam"]))
    return uf.detectors.evaluate(fitted, run)


def test_an_attack_is_scored_and_shown(command: Command, detectors: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    both = ("--detector", detectors["squeezing"], "--detector", detectors["class-map"])
    ended = command(*WHERE, *SHORT, *both, "--out", run)
    assert ended.code == 0, ended.err
    assert "squeezing median:2" in ended.out
    assert "no evidence of robustness" in " ".join(ended.out.split())
    held = Detected.of(run)
    assert held is not None
    assert held.detectors == ["squeezing median:2", "class-map"]
    for name in ("squeezing", "class-map"):
        found = evaluated(detectors[name], run)
        own = [row for row in held.rows if row["detector"] == found.rows()[0]["detector"]]
        assert [{name: value for name, value in row.items() if name != "roc"} for row in own] == found.rows()
        for row in found.scores():
            scored = next(
                each for each in held.scores[row["cell"], row["image_id"]] if each.detector == row["detector"]
            )
            assert (scored.score, scored.flagged) == (row["score"], row["flagged"])
    written = Written(run)
    row = next(each for each in held.rows if each["cell"] == "auto" and each["detector"] == "class-map")
    triple = [
        each["joint_success_all"] and not held.values("auto", each["image_id"])["noticed_class_map"]
        for each in written.of_cell("auto")
    ]
    assert row["triple_success"]["mean"] == pytest.approx(sum(triple) / 8)
    page = (run / "page.html").read_text()
    section = page[page.index("What detectors notice") :]
    section = section[: section.index("</table>")]
    assert len(re.findall(r"<td[^>]*>class-map", section)) + len(re.findall(r">class-map<", section)) >= 4
    assert page.count("noticed, score") == 2 * 8
    again = command("report", run)
    assert again.code == 0
    assert "squeezing median:2" in again.out
    for row in csv.DictReader(_exported(command, run, "csv").open(newline="")):
        values = held.values(row["cell"], row["image_id"])
        assert float(row["score_class_map"]) == pytest.approx(values["score_class_map"], rel=1e-12)
        assert row["noticed_squeezing_median_2"] == str(values["noticed_squeezing_median_2"]).lower()
    folder = _exported(command, run, "huggingface")
    for line in (folder / "metadata.jsonl").read_text().splitlines():
        entry = json.loads(line)
        label = {"attack": "auto", "control": "bim"}.get(entry["kind"], entry["kind"])
        assert entry["score_class_map"] == held.values(label, entry["image_id"])["score_class_map"]
    assert "- `noticed_class_map`: the detector class-map notices it" in (folder / "README.md").read_text()


def test_json_and_latex_have_what_detectors_notice(
    command: Command, detectors: dict[str, Path], tmp_path: Path
) -> None:
    words = (*WHERE, *SHORT, "--no-page", "--out", tmp_path / "run")
    ended = command(*words, "--detector", detectors["squeezing"], "--detector", detectors["class-map"], "--json")
    assert ended.code == 0, ended.err
    held = Detected.of(tmp_path / "run")
    assert held is not None
    assert json.loads(ended.out)["detection"] == held.rows
    part = uf.Run(tmp_path / "run").comparisons[0]
    for row in held.rows:
        role = next((role for role in ("attack", "control") if part.labels.get(role) == row["cell"]), None)
        if role is not None:  # one number has one interval, whoever shows it
            assert row["joint_success"] == part.intervals.joint(part.outcome(role, part.attacked)).to_dict()
        else:
            assert row["joint_success"]["n"] == row["triple_success"]["n"] == 0
    first, second = _exported(command, tmp_path / "run", "latex").read_text().split("\\end{tabular}")[:2]
    assert "squeezing" not in first
    shares = []
    for row in held.rows:
        begin = f"{row['detector']} & {row['cell']} & "
        (line,) = (line for line in second.splitlines() if line.startswith(begin))
        shares.append(line.split(" & ")[3])
        if row["detection"]["low"] is None:
            assert shares[-1] == "--"
        else:
            mean, low, high = (f"{row['detection'][name]:.3f}" for name in ("mean", "low", "high"))
            mark = "?" if row["caution"] and row["kind"] in ("attack", "control") else ""
            assert shares[-1] == f"{mean}{mark} [{low}, {high}]"
    assert any("?" in share for share in shares)
    assert any("[" in share and "?" not in share for share in shares)
    assert "no evidence of robustness" in second


def _exported(command: Command, run: Path, format: str) -> Path:
    out = run.parent / format
    ended = command("export", run, "--format", format, "--out", out)
    assert ended.code == 0, ended.err
    return out


def test_a_scored_run_is_resumed_and_replaced(command: Command, detectors: dict[str, Path], tmp_path: Path) -> None:
    """Scores are no part of the run: it goes on with or without them, and a new run has none of the former one's."""
    words = (*WHERE, "--attack", "auto", "--budget", 1, "--count", 2, "--no-page", "--out", tmp_path / "run")
    assert command(*words).code == 0
    assert Detected.of(tmp_path / "run") is None
    assert command(*words, "--resume", "--detector", detectors["squeezing"]).code == 0
    assert command(*words, "--resume").code == 0
    assert Detected.of(tmp_path / "run") is not None
    assert command(*words, "--overwrite").code == 0
    assert Detected.of(tmp_path / "run") is None


def test_scores_are_never_half_written(
    command: Command, detectors: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    words = (*WHERE, "--attack", "auto", "--budget", 1, "--count", 2, "--no-page", "--out", run)
    assert command(*words, "--detector", detectors["squeezing"]).code == 0
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}

    def stops(text: str, path: Path) -> None:
        path.write_text(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(detection, "_write", stops)
    with pytest.raises(KeyboardInterrupt):
        detection.write_detection(evaluated(detectors["squeezing"], run), run)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_what_does_not_fit_is_refused_before_the_attack(
    command: Command, detectors: dict[str, Path], tmp_path: Path
) -> None:
    for folder, said in ((detectors["foreign"], "fitted for another system"), (tmp_path / "no", "holds no detector")):
        ended = command(*WHERE, *SHORT, "--detector", folder, "--out", tmp_path / "run")
        assert ended.code == 2
        assert said in " ".join(ended.err.split())
        assert not (tmp_path / "run").exists()


def test_a_detector_given_twice_is_refused_before_the_attack(
    command: Command, detectors: dict[str, Path], tmp_path: Path
) -> None:
    twice = ("--detector", detectors["class-map"], "--detector", detectors["class-map"])
    ended = command(*WHERE, *SHORT, *twice, "--out", tmp_path / "run")
    assert ended.code == 2
    assert "detectors holds detector class-map with the digest" in " ".join(ended.err.split())
    assert not (tmp_path / "run").exists()


def test_a_detector_that_has_seen_the_images_is_refused_before_the_attack(
    command: Command, detectors: dict[str, Path], tmp_path: Path
) -> None:
    """Should the run be finished already, it is shown, and then it is said."""
    words = ("attack", "--data", "digits:train", *WHERE[3:], *SHORT, "--out", tmp_path / "run")
    ended = command(*words, "--detector", detectors["class-map"])
    said = " ".join(ended.err.split())
    assert ended.code == 2
    assert "images of detector class-map" in said
    assert "detect fit --apart-from" in said
    assert not list((tmp_path / "run").glob("cells/*/*"))
    assert command(*words, "--resume", "--no-page").code == 0
    ended = command(*words, "--resume", "--detector", detectors["class-map"])
    assert ended.code == 2
    assert "images of detector class-map" in " ".join(ended.err.split())
    assert "joint success" in ended.out
    assert (tmp_path / "run" / "page.html").exists()
    assert Detected.of(tmp_path / "run") is None


def test_a_campaign_refuses_a_detector_that_has_seen_the_images_before_the_attack(
    command: Command, detectors: dict[str, Path], tmp_path: Path
) -> None:
    """One run's images are new to the detector, and the other's are not."""
    (tmp_path / "campaign.toml").write_text(f"""
detectors = ["{detectors["class-map"]}"]
[settings]
classifier = "digits-resnet"
eps = {EPS}
count = 2
attack = "auto"
budget = 1
[grid]
data = ["digits:train", "digits:test"]
""")
    ended = command("run", tmp_path / "campaign.toml", "--out", tmp_path / "grid", "--no-page")
    assert ended.code == 2
    assert "images of detector class-map" in " ".join(ended.err.split())
    (run,) = (tmp_path / "grid" / "runs").iterdir()
    assert run.name == "digits_test"
    assert Detected.of(run) is not None


def test_a_campaign_evades_a_detector_and_is_scored(
    command: Command, detectors: dict[str, Path], tmp_path: Path
) -> None:
    """Two runs, one of which evades the class map: their numbers are those of ``detect evaluate``."""
    file = tmp_path / "campaign.toml"
    file.write_text(f"""
detectors = ["{detectors["class-map"]}", "{detectors["foreign"]}"]
[settings]
data = "digits:test"
classifier = "digits-resnet"
eps = {EPS}
count = 8
attack = "auto"
budget = 6
[[include]]
[[include]]
evade = "{detectors["class-map"]}"
""")
    out = tmp_path / "grid"
    ended = command("run", file, "--out", out)
    assert ended.code == 0, ended.err
    said = " ".join(ended.err.split())
    assert "fitted for no classifier of a finished run" in said
    assert said.count("it scored nothing") == 1
    runs = sorted((out / "runs").iterdir())
    assert len(runs) == 2
    keys = [{label: key for label, key in Written(run).keys.items() if label != "auto"} for run in runs]
    assert keys[0] == keys[1]  # controls do not evade, and are shared
    adaptive = set()
    for run in runs:
        held = Detected.of(run)
        assert held is not None
        assert held.detectors == ["class-map"]  # the other one was fitted for another classifier
        found = evaluated(detectors["class-map"], run).rows()
        assert [{name: value for name, value in row.items() if name != "roc"} for row in held.rows] == found
        adaptive |= {row["adaptive"] for row in found if row["kind"] == "attack"}
    assert adaptive == {True, False}
    assert "What detectors notice" in (out / "page.html").read_text()
    before = [(run / "scores.csv").stat().st_mtime_ns for run in runs]
    assert command("run", file, "--out", out, "--resume").code == 0
    assert [(run / "scores.csv").stat().st_mtime_ns for run in runs] == before
    file.write_text(file.read_text().replace(str(detectors["foreign"]), str(tmp_path / "no")))
    refused = command("run", file, "--out", out, "--resume")
    assert refused.code == 2
    assert "holds no detector" in " ".join(refused.err.split())
