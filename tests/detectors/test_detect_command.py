"""``underfire detect``: from fit to evaluate, what it prints and writes, and what it refuses in words."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

import underfire as uf
from tests.runs.runs import Command
from underfire.detectors.opening import open_detector

WHERE = ("--data", "digits:train", "--classifier", "digits-resnet")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A place for fitted detectors, by name."""
    home = tmp_path_factory.mktemp("fitted")
    return {name: home / name for name in ("squeezing", "agreement")}


def fit_both(command: Command, fitted: dict[str, Path]) -> None:
    if not fitted["squeezing"].exists():
        small = ("--calibration", 40, "--false-positives", 0.1, "--count", 40)
        words = ("detect", "fit", *WHERE, *small)
        ended = command(*words, "--detector", "squeezing:median:2+bit-depth:2", "--out", fitted["squeezing"])
        assert ended.code == 0, ended.err
        assert "chosen on 40 images for 10 % false alarms" in " ".join(ended.out.split())
        ended = command(*words, "--detector", "map-agreement", "--out", fitted["agreement"], "--json")
        assert ended.code == 0, ended.err
        record = json.loads(ended.out)
        assert record["source"] == {"interpreters": ["cam", "grad"], "variant": "paper"}
        assert [len(record["members"][role]["ids"]) for role in ("benign", "calibration")] == [40, 40]


def test_evaluate_prints_tables_for_80_columns_and_writes_files(
    command: Command, fitted: dict[str, Path], run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    fit_both(command, fitted)
    out = tmp_path / "evaluation"
    ended = command("detect", "evaluate", *fitted.values(), run_folder, "--out", out)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(ended.out.split())
    assert "squeezing median:2 + bit-depth:2" in said
    assert "no evidence of robustness" in said
    row = next(line.split() for line in lines if line.startswith("adv2"))
    with (out / "detection.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    first = next(each for each in rows if each["cell"] == "adv2")
    assert row[1] == first["successes"]
    assert row[2] == f"{float(first['auc']):.3f}?"
    assert row[3] == f"{float(first['detection']):.3f}?"
    assert row[4] == f"{float(first['joint_success']):.3f}"
    assert row[5] == f"{float(first['triple_success']):.3f}?"
    assert first["adaptive"] == "False"
    assert "evade it" in first["caution"]
    with (out / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 8 * 24
    again = command("detect", "evaluate", run_folder, fitted["squeezing"], "--json")
    entries = json.loads(again.out)["rows"]
    assert [each["cell"] for each in entries] == ["clean", "noise", "bim", "adv2"]
    assert json.loads((out / "detection.json").read_text())["rows"][:4] == entries


def test_an_earlier_detector_is_replaced_only_if_asked(command: Command, tmp_path: Path) -> None:
    """Regression: a good detector was replaced without a word. Nothing is read before it is refused."""
    words = ("detect", "fit", *WHERE, "--detector", "squeezing:median:2", "--calibration", 20, "--count", 0)
    for more, code in (((), 0), (("--classifier", "no-network"), 2), (("--overwrite",), 0)):
        ended = command(*words, "--false-positives", 0.1, "--out", tmp_path / "detector", *more)
        assert ended.code == code, ended.err
        if code:
            assert "holds a detector already: choose another folder, or replace it with --overwrite" in ended.said


def test_learning_from_a_run(command: Command, run_folder: Path, tmp_path: Path) -> None:
    """The run's images are learnt from, so that they are refused when the detector is evaluated."""
    words = ("detect", "fit", "--data", "digits:test", "--classifier", "digits-resnet", "--detector", "maps")
    place = tmp_path / "maps"
    ended = command(*words, "--attacked", run_folder, "--calibration", 30, "--count", 10, "--out", place, "--json")
    assert ended.code == 0, ended.err
    members = json.loads(ended.out)["members"]
    run = uf.Run(run_folder)
    success = run.column("adv2", "cam", "success")
    assert members["attacked"]["ids"] == [one for one, good in zip(run.image_ids, success, strict=True) if good]
    assert set(members["benign"]["ids"]) > set(run.image_ids)
    assert len(members["benign"]["ids"]) == 34
    assert not {*members["calibration"]["ids"]} & {*run.image_ids}
    refused = command("detect", "evaluate", place, run_folder)
    assert refused.code == 2
    assert "of the benign images of detector maps are among the images of the run" in " ".join(refused.err.split())
    assert "To leave them out: underfire detect fit --apart-from /" in " ".join(refused.err.split())


def test_images_of_named_runs_are_left_out(command: Command, run_folder: Path, tmp_path: Path) -> None:
    words = ("detect", "fit", "--data", "digits:test", "--classifier", "digits-resnet", "--detector", "squeezing")
    for more, shared in (((), 24), (("--apart-from", run_folder), 0)):
        ended = command(*words, *more, "--calibration", 30, "--out", tmp_path / f"detector{shared}", "--json")
        assert ended.code == 0, ended.err
        ids = json.loads(ended.out)["members"]["calibration"]["ids"]
        assert len({*ids} & {*uf.Run(run_folder).image_ids}) == shared


def test_score(command: Command, fitted: dict[str, Path], tmp_path: Path) -> None:
    fit_both(command, fitted)
    where = ("--data", "digits:test", "--classifier", "digits-resnet")
    ended = command(
        "detect", "score", fitted["squeezing"], *where, "--count", 30, "--out", tmp_path / "new" / "scores.csv"
    )
    assert ended.code == 0, ended.err
    with (tmp_path / "new" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(30))
    made = open_detector(fitted["squeezing"], classifier)
    assert [row["image_id"] for row in rows] == batch.ids
    assert [float(row["score"]) for row in rows] == made.scores(batch.images).tolist()
    flagged = int(made.flags(batch.images).sum())
    assert ended.out.startswith(f"{flagged} of 30 images are above the threshold")
    top = max(rows, key=lambda row: float(row["score"]))
    listed = [line.split() for line in ended.out.splitlines() if line.startswith("digits/")]
    assert listed[0][0] == top["image_id"]
    assert len(listed) == 10
    as_json = command("detect", "score", fitted["squeezing"], *where, "--count", 5, "--json")
    assert [row["score"] for row in json.loads(as_json.out)] == made.scores(batch.images[:5]).tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--detector", "sqeezing"), "Did you mean 'squeezing'"),
        (("--detector", "maps"), "attacked is missing; detector maps learns from attacked images"),
        (("--detector", "squeezing", "--interpreter", "cam"), "reads no maps: leave it out"),
        (("--detector", "map-agreement", "--interpreter", "cam"), "reads maps of at least 2 interpreters"),
        (("--detector", "squeezing", "--calibration", "10"), "at least 19 are needed"),
        (("--detector", "squeezing", "--false-positives", "5"), "false_positives is 5.0; expected a share"),
        (("--detector", "squeezing", "--calibration", "100000"), "images that can be taken, and 100000 are wanted"),
    ],
)
def test_fit_refuses_in_words(command: Command, words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    small = () if "--calibration" in words else ("--calibration", "20")
    ended = command("detect", "fit", *WHERE, *words, *small, "--count", "20", "--out", tmp_path / "detector")
    assert ended.code == 2
    assert message in " ".join(ended.err.split())
    assert not (tmp_path / "detector").exists()


def test_evaluate_refuses_in_words(command: Command, fitted: dict[str, Path], run_folder: Path, tmp_path: Path) -> None:
    fit_both(command, fitted)
    for given, message in (
        ((fitted["squeezing"],), "names no finished run"),
        ((run_folder,), "names no fitted detector"),
        ((fitted["squeezing"], tmp_path), "holds no finished run"),
        ((fitted["squeezing"], run_folder, run_folder, "--out", run_folder), "as its own; expected another folder"),
    ):
        ended = command("detect", "evaluate", *given)
        assert ended.code == 2
        assert message in " ".join(ended.err.split())
    attacked = command("detect", "fit", *WHERE, "--detector", "squeezing", "--attacked", run_folder, "--out", tmp_path)
    assert "learns from no attacked images" in " ".join(attacked.err.split())
    copied = Path(shutil.copytree(run_folder, tmp_path / "run"))
    record = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(record | {"weights_sha256": "0"}))
    assert "has other weights than it had in the run" in " ".join(
        command("detect", "evaluate", fitted["squeezing"], copied).err.split()
    )
