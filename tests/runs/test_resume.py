"""An interrupted run goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, assert_same_run, content, options, process
from underfire.attacks import Experiment
from underfire.errors import ClassifierError, StoreError, UnderfireWarning
from underfire.runs import Run, RunConfig, run_attack, work
from underfire.runs.store import Store
from underfire.system import System

CONFIG = small_config(count=10, steps=(2, 4))
FEW = small_config(count=5, steps=(1, 2))
LABELS = ("clean", "bim", "adv2", "noise")
Done = tuple[int, str]
"""A cell of a shard: the shard's number and the cell's label."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("uninterrupted")
    run_attack(CONFIG, folder, batch_size=4)
    return Written(folder)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Three shards of up to two images."""
    folder = tmp_path_factory.mktemp("few")
    run_attack(FEW, folder, batch_size=2)
    return Written(folder)


class Watched:
    """Notes which cells are performed and which are written, and raises ``error`` around the writing of one.

    Args:
        at: the place of the cell in the order of writing; None for no error.
        moment: ``before`` its rows are written (its images are there), or ``after``.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        at: int | None = None,
        error: type[BaseException] = KeyboardInterrupt,
        moment: str = "before",
    ) -> None:
        self.performed: list[str] = []
        self.written: list[Done] = []
        self.readings = 0
        perform, write, maps = Experiment.perform, Store.write_shard, System.maps

        def watched_perform(experiment: Experiment, arm: Any, *rest: Any, **more: Any) -> Any:
            self.performed.append(arm.label)
            return perform(experiment, arm, *rest, **more)

        def watched_write(store: Store, key: str, index: int, shard: Any) -> None:
            label = next(cell["label"] for cell in store.read_run()["cells"] if cell["key"] == key)
            if moment == "before" and len(self.written) == at:
                raise error("interrupted on purpose")
            write(store, key, index, shard)
            self.written.append((index, label))
            if moment == "after" and len(self.written) - 1 == at:
                raise error("interrupted on purpose")

        def watched_maps(system: System, *rest: Any) -> Any:
            self.readings += 1
            return maps(system, *rest)

        monkeypatch.setattr(Experiment, "perform", watched_perform)
        monkeypatch.setattr(Store, "write_shard", watched_write)
        monkeypatch.setattr(System, "maps", watched_maps)


def shards_of(folder: Path) -> set[Done]:
    """The cells of shards that a folder holds."""
    labels = {cell["key"]: cell["label"] for cell in json.loads((folder / "run.json").read_text())["cells"]}
    return {(int(file.stem), labels[file.parent.name]) for file in folder.glob("cells/*/*.parquet")}


def test_the_result_does_not_depend_on_the_shards(uninterrupted: Written, tmp_path: Path) -> None:
    run_attack(CONFIG, tmp_path, batch_size=10)
    assert_same_run(uninterrupted, Written(tmp_path))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, ClassifierError])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_only_what_is_missing_is_done_again(
    uninterrupted: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], moment: str
) -> None:
    """Interrupted at the end of the second shard, when its last images are there but not its last rows, or both."""
    every = [(index, label) for index in range(3) for label in LABELS]
    done = 7 if moment == "before" else 8
    with monkeypatch.context() as patch:
        Watched(patch, 7, error, moment)
        with pytest.raises(error, match="interrupted on purpose"):
            run_attack(CONFIG, tmp_path, batch_size=4)
    assert not (tmp_path / "results.parquet").exists()
    assert shards_of(tmp_path) == set(every[:done])
    watched = Watched(monkeypatch)
    run_attack(CONFIG, tmp_path, resume=True, batch_size=3)
    assert watched.written == every[done:]
    assert watched.performed == [label for _, label in every[done:]]
    assert_same_run(uninterrupted, Written(tmp_path))


@pytest.mark.parametrize("at", range(12))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_may_be_interrupted_at_any_cell(few: Written, tmp_path: Path, at: int, moment: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Watched(patch, at, moment=moment)
        with pytest.raises(KeyboardInterrupt):
            run_attack(FEW, tmp_path, batch_size=2)
    if (at, moment) == (0, "before"):
        assert content(tmp_path) == {}, "a run that fails before its first shard leaves nothing"
    run_attack(FEW, tmp_path, resume=True, batch_size=1)
    assert_same_run(few, Written(tmp_path))


@pytest.mark.parametrize("lost", LABELS)
def test_any_cell_of_a_shard_can_be_lost(
    few: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Only that cell is made again. Its benign maps come from the clean cell, and are computed if that is lost."""
    folder = unfinished(few.folder, tmp_path / "run")
    for file in folder.glob(f"cells/{few.keys[lost]}/000001.*"):
        file.unlink()
    watched = Watched(monkeypatch)
    said = rf"stopped in the middle of a part: .*000001.json is missing .part 2 of {lost}.. The parts"
    with pytest.warns(UnderfireWarning, match=said):
        run_attack(FEW, folder, resume=True)
    assert watched.written == [(1, lost)]
    assert watched.performed == [lost]
    # Of the clean images, or of the cell's own; of noise, five draws.
    assert watched.readings == (5 if lost == "noise" else 1)
    assert_same_run(few, Written(folder))


def test_a_shard_without_its_tensors_is_not_taken_for_complete(few: Written, tmp_path: Path) -> None:
    """The manifest comes last, so that it is the one that counts."""
    folder = unfinished(few.folder, tmp_path / "run")
    (folder / "cells" / few.keys["adv2"] / "000002.json").unlink()
    (folder / "cells" / few.keys["adv2"] / "000002.safetensors").write_bytes(b"half")
    with pytest.warns(UnderfireWarning, match="000002.json is missing .part 3 of adv2."):
        run_attack(FEW, folder, resume=True)
    assert_same_run(few, Written(folder))


def test_a_run_that_was_killed_is_not_called_damaged_alone(few: Written, tmp_path: Path) -> None:
    """Regression: a campaign stopped by two Ctrl-C "was damaged", as the noise was there, taken from another run."""
    for kind, cause in (("killed", "was damaged, or stopped in the middle of a part: "), ("cut", "was damaged: ")):
        folder = unfinished(few.folder, tmp_path / kind)
        for file in folder.glob(f"cells/{few.keys['adv2']}/000001.*"):
            file.unlink()
        if kind == "cut":
            (folder / "cells" / few.keys["noise"] / "000001.safetensors").write_bytes(b"half")
        with pytest.warns(UnderfireWarning, match=cause):
            run_attack(FEW, folder, resume=True)


def unfinished(finished: Path, folder: Path) -> Path:
    """A copy of a run in which all shards are there, and nothing was made of them yet."""
    shutil.copytree(finished, folder)
    for name in ("results.parquet", "trace.parquet", "summary.json"):
        (folder / name).unlink()
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"finished": False}))
    return folder


@pytest.mark.parametrize("at", ["Run.summary", "Store.write_tables", "work.environment"])
def test_interrupted_while_finishing(uninterrupted: Written, tmp_path: Path, at: str) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    target, name = at.split(".")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr({"Run": Run, "Store": Store, "work": work}[target], name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_attack(CONFIG, tmp_path, batch_size=4)
    with pytest.MonkeyPatch.context() as patch:
        watched = Watched(patch)
        run_attack(CONFIG, tmp_path, resume=True)
    assert watched.performed == watched.written == []
    assert_same_run(uninterrupted, Written(tmp_path))


def held(folder: Path) -> list[Path]:
    return list(folder.glob("cells/*/000000.parquet"))


def test_a_killed_process(tmp_path: Path) -> None:
    config = small_config(count=24, steps=(5, 20))
    words = options(count=24, steps="5,20", batch_size=8, out=tmp_path / "killed")
    started = process(*words)
    deadline = time.monotonic() + 60
    while not held(tmp_path / "killed") and started.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    started.communicate()
    assert held(tmp_path / "killed")
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["finished"] is False
    assert not (tmp_path / "killed" / "results.parquet").exists()
    resumed = process(*options(count=24, steps="5,20", batch_size=16, out=tmp_path / "killed", resume=True))
    assert resumed.wait() == 0, resumed.communicate()
    run_attack(config, tmp_path / "whole", batch_size=8)
    killed, whole = Written(tmp_path / "killed"), Written(tmp_path / "whole")
    assert_same_run(whole, killed)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"eps": 0.1}, "eps was [0.2], is [0.1]"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"count": 3}, "count was 2, is 3"),
        ({"steps": (1, 2)}, "steps was"),
        ({"target_class": "3"}, "target_class was 'random', is '3'"),
        ({"targeted": False}, "targeted was True, is False"),
        ({"attack": "bim"}, "attack was 'adv2', is 'bim'"),
        ({"variant": "published"}, "variant was"),
        ({"precision": "bf16"}, "precision was"),
        ({"interpreters": ("cam", "grad")}, "interpreters was"),
        ({"data": "digits:train"}, "data was 'digits:test', is 'digits:train'"),
    ],
)
def test_another_configuration_is_refused(small: Written, changes: dict[str, Any], named: str) -> None:
    before = small.everything()
    with pytest.raises(StoreError, match="another run") as refused:
        run_attack(small_config(**changes), small.folder, resume=True)
    assert named in str(refused.value)
    assert small.everything() == before


def test_resuming_a_finished_run_changes_nothing(small: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    before = small.everything()
    folders = sorted(path for path in small.folder.rglob("*"))
    watched = Watched(monkeypatch)
    assert run_attack(small_config(), small.folder, resume=True) == small.summary
    assert watched.performed == watched.written == []
    assert small.everything() == before
    assert sorted(path for path in small.folder.rglob("*")) == folders


def test_other_weights_or_data_under_the_same_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_table: Path
) -> None:
    """Shards of two networks must never end up in one table."""
    model = tmp_path / "model.py"
    text = (
        "import torch, underfire as uf\n"
        "def build():\n"
        "    made = uf.classifiers.load('digits-resnet')\n"
        "    with torch.no_grad():\n"
        "        made.module.head.bias.add_(0.0)\n"
        "    return made\n"
    )
    model.write_text(text)
    config = RunConfig.create(data=str(digits_table), classifier=f"{model}:build", eps=0.2, steps=(1, 1))
    with monkeypatch.context() as patch:
        Watched(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            run_attack(config, tmp_path / "out", batch_size=8)
    before = content(tmp_path / "out")
    model.write_text(text.replace("add_(0.0)", "add_(0.125)  # another network"))
    with pytest.raises(StoreError, match="classifier_sha256 was"):
        run_attack(config, tmp_path / "out", resume=True)
    assert content(tmp_path / "out") == before
    model.write_text(text)
    run_attack(config, tmp_path / "out", resume=True)
    assert Written(tmp_path / "out").run["finished"]


def test_ctrl_c_says_how_to_go_on(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Watched(monkeypatch, 0, moment="after")
    ended = command(*options(out=tmp_path))
    assert ended.code == 130
    assert "--resume" in ended.said
    assert "Traceback" not in ended.err
