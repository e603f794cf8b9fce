"""Runs of a campaign that fail, and campaigns that are stopped on purpose."""

from __future__ import annotations

import json
import shlex
import signal
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from benchmarks.kills_compare import compare, manifests
from tests.campaigns.campaign import EXECUTION, TEXT, said, start, wait_for, words, write_campaign
from tests.runs.runs import Command
from underfire.campaigns import folder
from underfire.campaigns.engines import Processes, Stop
from underfire.campaigns.file import read_grid
from underfire.campaigns.folder import Campaign, CampaignStore
from underfire.campaigns.record import Record, write_record
from underfire.campaigns.running import run_campaign
from underfire.campaigns.units import Answer, Failure, Hands, Unit
from underfire.errors import StoreError

BROKEN = """
from underfire.interpreters import CAM


class Mine(CAM):
    name = "mine"

    def read(self, classifier, images, classes, ids):
        raise RuntimeError("the interpreter of a user is broken")
"""
FEW = TEXT.replace("count = 16", "count = 2")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A campaign of three runs, the first of which is impossible: its interpreter raises an error."""
    (tmp_path / "mine.py").write_text(BROKEN)
    bad = FEW.replace('["cam", "grad"]', f'["{tmp_path / "mine.py"}:Mine", "grad"]')
    return write_campaign(tmp_path, f'{bad}\n[[include]]\ninterpreter = "cam"\n')


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_the_other_runs_go_on_if_one_is_impossible(
    workers: list[str], command: Command, broken: Path, tmp_path: Path
) -> None:
    ended = command(*words(broken, tmp_path / "out", *workers))
    assert ended.code == 2
    assert "1 of 3 runs failed; the others are as shown." in ended.said
    assert "go on with --resume" in ended.said
    assert "2 of 3 runs are finished" in " ".join(ended.out.split())
    entries = json.loads((tmp_path / "out" / "campaign.json").read_text())["runs"]
    assert sorted(entry["state"] for entry in entries) == ["failed", "finished", "finished"]
    assert "the interpreter of a user is broken" in next(e["error"] for e in entries if e["state"] == "failed")


def test_the_failed_run_is_made_after_its_file_is_mended(command: Command, broken: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command(*words(broken, out)).code == 2
    failed = next(entry.name for entry in Campaign(out) if entry.state == "failed")
    (out / f"{failed}.error.txt").write_text("a traceback of the first try")
    mended = BROKEN.replace("raise RuntimeError(", "return super().read(classifier, images, classes, ids)  # (")
    (tmp_path / "mine.py").write_text(mended)
    assert said(start(broken, out, "--resume"))[0] == 0
    assert {(entry.state, entry.error) for entry in Campaign(out)} == {("finished", "")}
    assert not (out / f"{failed}.error.txt").exists()


def test_fail_fast_stops_at_the_first_failure(command: Command, broken: Path, tmp_path: Path) -> None:
    ended = command(*words(broken, tmp_path / "out", "--fail-fast"))
    assert ended.code == 2
    assert "the interpreter of a user is broken" in ended.said
    assert [entry.state for entry in Campaign(tmp_path / "out")] == ["failed", "begun", "begun"]
    assert manifests(tmp_path / "out") == 0


def test_only_the_run_whose_process_dies_fails(command: Command, broken: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN.replace("raise RuntimeError(", "import os; os._exit(1)  # ("))
    assert command(*words(broken, tmp_path / "out", "--workers", "2")).code == 2
    entries = Campaign(tmp_path / "out").entries
    assert [entry.state for entry in entries] == ["failed", "finished", "finished"]
    assert entries[0].error == "the worker process died 3 times at this part: was it out of memory?"


@pytest.mark.parametrize("in_hand", [0, 1])
def test_a_process_that_dies_between_two_looks_loses_no_unit(in_hand: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool is broken when the next unit is handed to it: with the units in hand lost, or with none in hand."""
    submitted: list[str] = []

    class Pool:
        def __init__(self, taken: int) -> None:
            self.taken = taken

        def submit(self, _do: object, unit: Unit) -> Future[Answer]:
            if not self.taken:
                raise BrokenProcessPool
            self.taken -= 1
            submitted.append(unit.run)
            future = Future[Answer]()
            if len(submitted) <= in_hand:
                future.set_exception(BrokenProcessPool())
            else:
                future.set_result(Answer(None))
            return future

        def shutdown(self, cancel_futures: bool) -> None:
            assert cancel_futures

    pools = iter((Pool(in_hand), Pool(100)))
    monkeypatch.setattr(Processes, "_pool", lambda _self: next(pools))
    done: dict[str, Failure | None] = {}
    units = [Unit(number, f"run{number}", 0, {}, "", EXECUTION) for number in range(3)]
    Processes(2).perform(units, lambda unit, failure: done.update({unit.run: failure}), Stop(), Hands())
    assert done == dict.fromkeys(("run0", "run1", "run2"))
    assert submitted == ["run0"] * in_hand + ["run0", "run1", "run2"]


@pytest.mark.parametrize(("number", "more"), [(signal.SIGTERM, ["--workers", "2"]), (signal.SIGINT, [])])
def test_a_signal_finishes_the_part_in_hand_and_says_how_to_go_on(
    number: signal.Signals, more: list[str], command: Command, file: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a folder"
    running = start(file, out, *more)
    wait_for(lambda: manifests(out) >= 3, running)
    running.send_signal(number)
    code, _, err = said(running)
    assert code == 130
    assert manifests(out) % 4 == 0, "a shard was not finished for all of its cells"
    assert manifests(out) < 32
    wanted = ["run", str(file), "--out", str(out), "--no-page", "--batch-size", "4", *more, "--resume"]
    again = f"underfire {shlex.join(wanted)}"
    assert again.replace(" ", "") in err.replace(" ", ""), err
    assert command(*wanted).code == 0
    assert compare(whole, out)[1] == []


def test_a_second_signal_stops_workers_at_once(tmp_path: Path) -> None:
    slow = TEXT.replace("steps = [2, 4]", "steps = [100000, 100000]").replace("count = 16", "count = 2")
    running = start(write_campaign(tmp_path, slow), tmp_path / "out", "--workers", "2")
    wait_for(lambda: manifests(tmp_path / "out") >= 1, running)
    running.send_signal(signal.SIGTERM)
    time.sleep(1)
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 130
    assert "--resume goes on from them" in said(running)[2]


def test_a_second_process_in_the_same_folder_is_refused_and_the_lock_stays(tmp_path: Path) -> None:
    store = CampaignStore(tmp_path / "out", resume=False)
    with store.working():
        for _ in range(2):
            second = CampaignStore(tmp_path / "out", resume=True).working()
            with pytest.raises(StoreError, match="another process runs a campaign in it"), second:
                pass
    assert not (tmp_path / "out" / ".lock").exists()


def test_notes_are_there_before_the_campaign_and_nothing_else_is_changed(tmp_path: Path) -> None:
    """Regression: a kill in the first start of ``reproduce --defended`` left runs that looked undefended."""
    grid, place, notes = read_grid(write_campaign(tmp_path, FEW)), tmp_path / "out", {"beside.json": "{}\n"}

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        assert (place / "beside.json").read_text() == "{}\n"
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "write_record", kill)
        for _ in range(2):  # what the first kill leaves is no obstacle
            (place / "beside.json.0123abcd.part").parent.mkdir(exist_ok=True)
            (place / "beside.json.0123abcd.part").touch()
            with pytest.raises(Killed):
                run_campaign(grid, place, notes=notes)
    assert [each.name for each in place.iterdir()] == ["beside.json"]
    write_record(place, Record(grid, [], {}))
    with pytest.raises(StoreError, match="give --resume"):
        run_campaign(grid, place, notes={"beside.json": "[]"})
    assert (place / "beside.json").read_text() == "{}\n"


@pytest.mark.parametrize(
    "name", ["campaign.json.0a1b2c3d.part", "runs/grad/run.json.0a1b2c3d.part", "runs/grad/.writable"]
)
def test_what_a_kill_at_the_very_beginning_leaves_is_no_obstacle(name: str, command: Command, tmp_path: Path) -> None:
    left = tmp_path / "out" / name
    left.parent.mkdir(parents=True)
    left.touch()
    file = write_campaign(tmp_path, FEW)
    assert command(*words(file, tmp_path / "out", "--resume")).code == 0
    assert not left.exists()
