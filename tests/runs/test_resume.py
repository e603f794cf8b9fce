"""An interrupted run goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, assert_same_run, content, options, process
from underfire.errors import ClassifierError, StoreError
from underfire.runs import RunConfig, run_attack, running

CONFIG = small_config(count=20, steps=(2, 4))
Fail = Callable[[int], None]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("uninterrupted")
    run_attack(CONFIG, folder, batch_size=8)
    return Written(folder)


def watch_shards(monkeypatch: pytest.MonkeyPatch, before: Fail, after: Fail) -> list[list[int]]:
    """Call ``before`` and ``after`` with each shard's number in this process; returns the shards as they are made."""
    original, made = running.attack_shard, list[list[int]]()

    def watched(plan: Any, index: int, positions: list[int], *rest: Any) -> None:
        before(len(made))
        made.append(list(positions))
        original(plan, index, positions, *rest)
        after(len(made) - 1)

    monkeypatch.setattr("underfire.runs.running.attack_shard", watched)
    return made


def nothing(_: int) -> None:
    pass


def failing(number: int, error: type[BaseException]) -> Fail:
    def fail(shard: int) -> None:
        if shard == number:
            raise error("interrupted on purpose")

    return fail


def test_the_result_does_not_depend_on_the_shards(uninterrupted: Written, tmp_path: Path) -> None:
    run_attack(CONFIG, tmp_path, batch_size=20)
    assert_same_run(uninterrupted, Written(tmp_path))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, ClassifierError])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_only_what_is_missing_is_done_again(
    uninterrupted: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], moment: str
) -> None:
    """Interrupted before the second shard, and at its end, when its images are there but its rows are not."""
    fail = failing(1, error)
    with monkeypatch.context() as patch:
        watch_shards(patch, fail if moment == "before" else nothing, fail if moment == "after" else nothing)
        with pytest.raises(error, match="interrupted on purpose"):
            run_attack(CONFIG, tmp_path, batch_size=8)
    assert not (tmp_path / "results.parquet").exists()
    assert [file.name for file in sorted((tmp_path / "shards").glob("*.parquet"))] == ["000000.parquet"]
    made = watch_shards(monkeypatch, nothing, nothing)
    run_attack(CONFIG, tmp_path, resume=True, batch_size=5)
    assert made == [list(range(8, 16)), list(range(16, 20))]
    assert_same_run(uninterrupted, Written(tmp_path))


def test_interrupted_while_finishing(uninterrupted: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(runner, "_record", lambda run: failing(0, KeyboardInterrupt)(0))
        with pytest.raises(KeyboardInterrupt):
            run_attack(CONFIG, tmp_path, batch_size=8)
    made = watch_shards(monkeypatch, nothing, nothing)
    run_attack(CONFIG, tmp_path, resume=True)
    assert made == []
    assert_same_run(uninterrupted, Written(tmp_path))


def test_a_killed_process(tmp_path: Path) -> None:
    config = small_config(count=24, steps=(5, 20))
    words = options(count=24, steps="5,20", batch_size=8, out=tmp_path / "killed")
    running = process(*words)
    first = tmp_path / "killed" / "shards" / "000000.parquet"
    deadline = time.monotonic() + 60
    while not first.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    running.communicate()
    assert first.exists()
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
        ({"eps": 0.1}, "eps was 0.2, is 0.1"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"count": 3}, "count was 2, is 3"),
        ({"steps": (1, 2)}, "steps was"),
        ({"target": "3"}, "target was 'random', is '3'"),
        ({"targeted": False}, "targeted was True, is False"),
        ({"attack": "bim"}, "attack was 'adv2', is 'bim'"),
        ({"preset": "published"}, "preset was"),
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
    made = watch_shards(monkeypatch, nothing, nothing)
    assert run_attack(small_config(), small.folder, resume=True) == small.summary
    assert made == []
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
        watch_shards(patch, failing(1, KeyboardInterrupt), nothing)
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
    watch_shards(monkeypatch, failing(0, KeyboardInterrupt), nothing)
    ended = command(*options(out=tmp_path))
    assert ended.code == 130
    assert "--resume" in ended.said
    assert "Traceback" not in ended.err


def test_a_radius_that_means_nothing_makes_no_other_run(tmp_path: Path) -> None:
    """An earlier version wrote eps down for C&W, too; of an attack in a ball it makes another run."""
    for attack in ("cw", "pgd"):
        config = small_config(attack=attack)
        summary = run_attack(config, tmp_path / attack)
        record = json.loads((tmp_path / attack / "run.json").read_text())
        assert record["configuration"]["eps"] == (None if attack == "cw" else 0.2)
        record["configuration"]["eps"] = 8 / 255
        (tmp_path / attack / "run.json").write_text(json.dumps(record))
        if attack == "cw":
            assert run_attack(config, tmp_path / attack, resume=True) == summary
        else:
            with pytest.raises(StoreError, match=r"eps was 0\.03.*, is 0\.2"):
                run_attack(config, tmp_path / attack, resume=True)
