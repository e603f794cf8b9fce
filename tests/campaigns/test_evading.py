"""Attacks that evade the detector of a folder, done by several processes, in parts, and killed: always the same run."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from benchmarks.kills_compare import compare, manifests
from tests.campaigns.campaign import (
    EVADING,
    fit_class_map,
    kill_all,
    run_inline,
    said,
    start,
    wait_for,
    words,
    write_campaign,
)
from tests.runs.runs import Command
from underfire.campaigns.folder import Campaign


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a class map for CAM."""
    folder = tmp_path_factory.mktemp("detector") / "class-map"
    fit_class_map(90).save(folder)
    return folder


@pytest.fixture(scope="module")
def file(detector: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one of which evades the detector."""
    return write_campaign(tmp_path_factory.mktemp("file"), EVADING.format(detector))


@pytest.fixture(scope="module")
def whole(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign, run by one process without an interruption."""
    return run_inline(file, tmp_path_factory.mktemp("whole") / "out").path


def assert_equal(one: Path, other: Path) -> None:
    counts, differences = compare(one, other)
    assert not differences
    assert counts["rows"] == 2 * 16 * 4


def test_the_detector_changes_the_attack(whole: Path) -> None:
    """Else the comparisons of this file would not notice a worker that forgets the detector."""
    campaign = Campaign(whole)
    names = [entry.name for entry in campaign]
    losses = [campaign.run(name).column("auto", "cam", "map_l1") for name in names]
    assert len(losses) == 2
    assert (losses[0] != losses[1]).mean() > 0.5


def test_two_workers_are_killed_and_go_on(file: Path, whole: Path, tmp_path: Path) -> None:
    place = tmp_path / "out"
    running = start(file, place, "--workers", "2")
    wait_for(partial(lambda least: manifests(place) >= least, 5), running)
    kill_all(running)
    assert manifests(place) < manifests(whole), "the kill came too late for this test"
    code, _, err = said(start(file, place, "--workers", "2", "--resume"))
    assert code == 0, err
    assert_equal(whole, place)


def test_parts_make_the_same_run_and_refuse_another_detector(
    command: Command, file: Path, detector: Path, whole: Path, tmp_path: Path
) -> None:
    place, aside = tmp_path / "out", tmp_path / "aside"
    assert command(*words(file, place, "--begin")).code == 0
    assert command(*words(file, place, "--part", "1/2")).code == 0
    done = manifests(place)
    assert 0 < done < manifests(whole)
    shutil.move(detector, aside)
    try:
        fit_class_map(120).save(detector)
        ended = command(*words(file, place, "--part", "2/2"))
    finally:
        shutil.rmtree(detector)
        shutil.move(aside, detector)
    assert ended.code == 2
    assert "the detector to evade is another one" in ended.said
    assert "1 of 2 runs failed" in ended.said
    assert "go on with the same --part" in ended.said
    assert done < manifests(place) < manifests(whole)
    assert command(*words(file, place, "--part", "2/2")).code == 0
    assert manifests(place) == manifests(whole)
    assert command(*words(file, place, "--resume")).code == 0
    assert_equal(whole, place)
