"""``--evade`` with the folder of a fitted detector: in a run, in a campaign, resumed, refused, and evaluated."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import underfire as uf
from tests.detectors.conftest import EPS, Digits, changed
from tests.runs.runs import Command, Written
from underfire.detectors import FittedDetector, fit
from underfire.errors import StoreError
from underfire.runs import RunConfig, run_attack
from underfire.runs.execution import Execution
from underfire.runs.opened import Opened
from underfire.runs.running import RunInHand
from underfire.runs.work import Work

WHERE = ("attack", "--data", "digits:test", "--classifier", "digits-resnet", "--eps", EPS, "--no-page")
SHORT = ("--attack", "auto", "--budget", 2, "--count", 2)


def made(digits: Digits, name: str, interpreters: tuple[str, ...] = ("cam",), first: int = 0) -> FittedDetector:
    system = digits.system.only(interpreters)
    attacked = digits.attacked if name.startswith("lid") else None
    ids = {"calibration_ids": digits.ids[80:], "benign_ids": digits.ids[first : first + 60]}
    if attacked is not None:
        ids["attacked_ids"] = digits.ids[:40]
    return fit(name, system, digits.images[80:], digits.images[first : first + 60], attacked, **ids)


@pytest.fixture(scope="module")
def folders(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Detectors for the attack on CAM; ``other`` is the same kind as ``class-map``, fitted on other images."""
    home = tmp_path_factory.mktemp("detectors")
    found = {}
    for name, first in (("class-map", 0), ("lid:5", 0), ("other", 20)):
        found[name] = home / name.replace(":", "")
        made(digits, "class-map" if name == "other" else name, first=first).save(found[name])
    return found


@pytest.mark.parametrize("name", ["class-map", "lid:5"])
@pytest.mark.parametrize("attack", [("auto", 2), ("adaptive-auto", 2), ("adv2", 0)])
def test_the_folder_becomes_the_detectors_own_term(
    command: Command, folders: dict[str, Path], name: str, attack: tuple[str, int], tmp_path: Path
) -> None:
    length = ("--budget", attack[1]) if attack[1] else ("--steps", "1,1")
    words = ("--attack", attack[0], *length, "--count", 2, "--evade", folders[name], "--out", tmp_path / "run")
    ended = command(*WHERE, *words)
    assert ended.code == 0, ended.err
    run = Written(tmp_path / "run").run
    assert run["configuration"]["evade"] == [f"detector:{folders[name]}"]
    assert list(run["detectors_sha256"]) == [str(folders[name])]
    detector = uf.detectors.load(folders[name], uf.System(uf.classifiers.load("digits-resnet"), ["cam"]))
    assert f"digest='{detector.digest}'" in run["attacks"][attack[0]]
    assert "Evade(" not in run["attacks"][attack[0]]
    assert not any(detector.digest in text for label, text in run["attacks"].items() if label != attack[0])


@pytest.mark.parametrize("name", ["class-map", "lid:5"])
def test_the_scores_fall_below_the_threshold(folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    """The evading attack gets past the detector as often as plain ``auto`` or more, and always ends lower."""
    values: dict[str, Any] = {"data": "digits:test", "classifier": "digits-resnet", "attack": "auto"}
    values |= {"budget": 30, "eps": EPS, "count": 16, "noise_draws": 1}
    rows = {}
    detector = uf.detectors.load(folders[name], uf.System(uf.classifiers.load("digits-resnet"), ["cam"]))
    for label, evade in (("plain", ()), ("evading", (str(folders[name]),))):
        config = RunConfig.create(**values, evade=evade)
        run_attack(config, tmp_path / label, batch_size=8, term_of=uf.detectors.evading_term)
        found = uf.detectors.evaluate(detector, tmp_path / label)
        rows[label] = next(row for row in found.rows() if row["kind"] == "attack")
    assert rows["plain"]["detection"]["mean"] >= 0.3
    assert rows["evading"]["successes"] >= 12
    assert rows["evading"]["detection"]["mean"] <= 0.1
    assert (rows["plain"]["adaptive"], rows["evading"]["adaptive"]) == (False, True)
    assert rows["evading"]["caution"] == ""


def test_another_detector_of_the_same_kind_is_not_the_one_that_is_known(
    command: Command, folders: dict[str, Path], tmp_path: Path
) -> None:
    assert command(*WHERE, *SHORT, "--evade", folders["class-map"], "--out", tmp_path / "run").code == 0
    system = uf.System(uf.classifiers.load("digits-resnet"), ["cam"])
    for name, known in (("class-map", True), ("other", False)):
        found = uf.detectors.evaluate(uf.detectors.load(folders[name], system), tmp_path / "run")
        row = next(row for row in found.rows() if row["kind"] == "attack")
        assert row["adaptive"] is known
        assert bool(row["caution"]) is not known


def test_a_run_goes_on_with_the_same_detector_alone(command: Command, folders: dict[str, Path], tmp_path: Path) -> None:
    """A killed run goes on to the same results; with another detector in the folder it is refused."""
    place = Path(shutil.copytree(folders["class-map"], tmp_path / "detector"))
    words = (*WHERE, "--attack", "auto", "--budget", 2, "--count", 4, "--batch-size", 2, "--evade", place)
    assert command(*words, "--out", tmp_path / "whole").code == 0
    cut = Path(shutil.copytree(tmp_path / "whole", tmp_path / "cut"))
    whole = Written(tmp_path / "whole")
    key = whole.keys["auto"]
    for file in (cut / "cells" / key).glob("000001*"):
        file.unlink()
    for file in ("summary.json", "results.parquet", "trace.parquet"):
        (cut / file).unlink()
    text = (cut / "run.json").read_text()
    (cut / "run.json").write_text(text.replace('"finished": true', '"finished": false'))
    again = Path(shutil.copytree(cut, tmp_path / "again"))
    assert command(*words, "--out", cut, "--resume").code == 0
    assert Written(cut).pictures("auto") == whole.pictures("auto")
    shutil.rmtree(place)
    shutil.copytree(folders["other"], place)
    for folder in (again, tmp_path / "whole"):
        refused = command(*words, "--out", folder, "--resume")
        assert refused.code == 2
        assert "the detector to evade is another one" in " ".join(refused.err.split())
    shutil.rmtree(place)
    refused = command(*words, "--out", again, "--resume")
    assert refused.code == 2


def test_notes_beside_a_detector_do_not_travel(folders: dict[str, Path], tmp_path: Path) -> None:
    """Regression: they lay in the run's folder, so that --overwrite refused to replace a run that was stopped."""
    place = Path(shutil.copytree(folders["class-map"], tmp_path / "detector"))
    (place / "notes.txt").write_text("fitted on Monday")
    values = {"data": "digits:test", "classifier": "digits-resnet", "attack": "auto", "budget": 2, "eps": EPS}
    config = RunConfig.create(**values, count=2, noise_draws=1, evade=str(place))
    for overwrite in (False, True):
        opened = Opened(uf.detectors.evading_term)
        hand = RunInHand(config, tmp_path / "run", Execution(batch_size=8), opened=opened, overwrite=overwrite)
        with hand.working():
            hand.begin()
    assert {file.name for file in (tmp_path / "run" / "evaded" / "0").iterdir()} == {
        "detector.json",
        "detector.safetensors",
    }


def test_a_kill_at_the_end_leaves_no_detector(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a run that was killed just after it was noted as finished kept evaded/ for ever."""
    values = {"data": "digits:test", "classifier": "digits-resnet", "attack": "auto", "budget": 2, "eps": EPS}
    config = RunConfig.create(**values, count=2, noise_draws=1, evade=str(folders["class-map"]))
    finish = Work.finish

    def killed(work: Work, precision: str) -> None:
        finish(work, precision)
        raise KeyboardInterrupt

    monkeypatch.setattr(Work, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        run_attack(config, tmp_path / "run", term_of=uf.detectors.evading_term)
    run = Written(tmp_path / "run").run
    assert run["finished"]
    assert not (tmp_path / "run" / "evaded").exists()


def test_a_worker_needs_the_runs_folder_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    """As on another machine, where the detector's folder is not: a copy of it is in the run's folder until the end."""
    place = Path(shutil.copytree(folders["class-map"], tmp_path / "detector"))
    values = {"data": "digits:test", "classifier": "digits-resnet", "attack": "auto", "budget": 2, "eps": EPS}
    config = RunConfig.create(**values, count=2, noise_draws=1, evade=str(place))

    def hand(**how: Any) -> RunInHand:
        opened = Opened(uf.detectors.evading_term)
        return RunInHand(config, tmp_path / "run", Execution(batch_size=8), opened=opened, **how)

    first, copy = hand(), tmp_path / "run" / "evaded" / "0"
    with first.working():
        first.begin()
        shutil.rmtree(place)
        kept = shutil.copytree(copy, tmp_path / "kept")
        shutil.copytree(folders["other"], copy, dirs_exist_ok=True)
        with pytest.raises(StoreError, match="the detector to evade is another one"):
            hand(resume=True).join()
        shutil.copy(kept / "detector.json", copy)
        with pytest.raises(StoreError, match="is damaged"):  # the tensors are still those of the other one
            hand(resume=True).join()
        shutil.copytree(kept, copy, dirs_exist_ok=True)
        worker = hand(resume=True)
        worker.join()
        worker.attack(0)
        first.finish()
    assert not copy.parent.exists()
    assert Written(tmp_path / "run").run["finished"]


def test_what_cannot_be_evaded_is_refused_in_words(
    command: Command, digits: Digits, folders: dict[str, Path], tmp_path: Path
) -> None:
    made(digits, "class-map", ("cam", "grad")).save(tmp_path / "both")
    made(digits, "map-agreement", ("cam", "grad")).save(tmp_path / "agreement")
    fit("class-map", changed(digits.system.only(("cam",))), digits.images[80:], digits.images[:60]).save(
        tmp_path / "foreign"
    )
    fit("map-squeezing", digits.system.only(("cam",)), digits.images[80:], digits.images[:60]).save(
        tmp_path / "map-squeezing"
    )
    (tmp_path / "own.py").touch()
    both = ("--interpreter", "cam,grad")
    published = ("--interpreter", "cam,grad", "--variant", "published", "--steps", "1,1", "--count", 2)
    for folder, words, said in (
        (tmp_path / "both", SHORT, "reads the maps of grad, and the attack on cam does not"),
        (tmp_path / "both", (*SHORT, *both, "--each"), "reads the maps of grad"),
        (tmp_path / "both", published, "the interpreter grad is"),
        (tmp_path / "foreign", SHORT, "was fitted for another system"),
        (tmp_path / "agreement", (*SHORT, *both), "--term FILE.py:NAME"),
        (tmp_path / "map-squeezing", SHORT, "--term FILE.py:NAME"),
        (tmp_path / "nothing", SHORT, "and there is no such folder; expected SQUEEZER<THRESHOLD"),
        (tmp_path / "own.py", SHORT, "a file without a name in it"),
        (f"detector:{tmp_path / 'nothing'}", SHORT, "holds no detector"),
    ):
        ended = command(*WHERE, *words, "--evade", folder, "--out", tmp_path / "run")
        assert ended.code == 2, said
        assert said in " ".join(ended.err.split())
        assert not (tmp_path / "run").exists()
    config = RunConfig.create(data="digits:test", classifier="digits-resnet", evade=str(folders["class-map"]))
    with pytest.raises(uf.errors.InputError, match=r"term_of=underfire\.detectors\.evading_term"):
        run_attack(config, tmp_path / "run")
    with pytest.raises(uf.errors.InputError, match=r"evade=fitted\.term"):
        uf.attack(digits.system, digits.images[:1], [0], "auto", evade=str(folders["class-map"]))
