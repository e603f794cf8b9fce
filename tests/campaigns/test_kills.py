"""A campaign that is killed and resumed ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path

import pytest

from benchmarks.kills import command_line
from benchmarks.kills_compare import compare, manifests
from tests.campaigns.campaign import kill_all, run_inline, start, wait_for, words, workers_of
from tests.runs.runs import Command
from underfire.campaigns.engines import Processes
from underfire.runs import borrowing


def holds(place: Path, wanted: int) -> bool:
    return manifests(place) >= wanted


def assert_equal(one: Path, other: Path) -> None:
    counts, differences = compare(one, other)
    assert not differences
    assert counts["runs"] == 2
    assert counts["rows"] == 2 * 16 * 4  # two runs, each with four cells
    assert counts["images"] == 2 * 16 * 4


@pytest.mark.parametrize("workers", [1, 2])
def test_a_campaign_that_is_killed_twice_and_moved_ends_equal(
    workers: int, command: Command, file: Path, whole: Path, tmp_path: Path
) -> None:
    place, more = tmp_path / "first place", ["--workers", str(workers)] if workers > 1 else []
    for number in range(2):
        if number == 1:
            place = place.rename(tmp_path / "second place")
        running = start(file, place, *(["--resume"] if number else []), *more)
        wait_for(partial(holds, place, 10 * number + 3), running)
        kill_all(running)
        assert manifests(place) < manifests(whole), "the kill came too late for this test"
    assert command(*words(file, place, "--resume", *more)).code == 0
    assert_equal(whole, place)


def test_a_kill_while_resume_checks_the_folder_loses_nothing(
    command: Command, file: Path, whole: Path, tmp_path: Path
) -> None:
    place = tmp_path / "out"
    running = start(file, place)
    wait_for(lambda: manifests(place) >= 12, running)
    kill_all(running)
    before, written = manifests(place), (place / "campaign.json").stat().st_mtime_ns
    running = start(file, place, "--resume")
    wait_for(lambda: (place / "campaign.json").stat().st_mtime_ns != written, running)
    kill_all(running)
    assert manifests(place) >= before
    assert command(*words(file, place, "--resume")).code == 0
    assert_equal(whole, place)


def test_a_worker_that_is_killed_costs_nothing_but_time(file: Path, whole: Path, tmp_path: Path) -> None:
    place, killed = tmp_path / "out", list[int]()

    def kill_one() -> None:
        wait_for(lambda: manifests(place) >= 5)
        os.kill(workers_of(os.getpid())[0], signal.SIGKILL)
        killed.append(manifests(place))

    killer = threading.Thread(target=kill_one)
    killer.start()
    ended = run_inline(file, place, Processes(2))
    killer.join()
    assert killed[0] < manifests(whole), "the kill came too late for this test"
    assert [entry.state for entry in ended] == ["finished"] * 2
    assert_equal(whole, place)


def test_workers_end_when_the_first_process_is_killed_alone(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "out"
    running = start(file, place, "--workers", "2")
    wait_for(partial(holds, place, 3), running)
    workers = workers_of(running.pid)
    assert len(workers) == 2
    running.kill()
    running.communicate()
    wait_for(lambda: not any("forkserver" in command_line(pid) for pid in workers))


def test_an_image_that_is_linked_again_leaves_no_second_name(tmp_path: Path) -> None:
    source, target = tmp_path / "source.png", tmp_path / "target.png"
    source.write_bytes(b"an image")
    for _ in range(2):
        borrowing._link(source, target)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["source.png", "target.png"]
