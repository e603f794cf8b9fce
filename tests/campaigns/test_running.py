"""Running campaigns: results do not depend on the engine or on interruptions, and shared cells are computed once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

import underfire.campaigns.estimate as estimating
import underfire.runs.shards as shards
from underfire.campaigns.engines import Inline, Processes, Stop
from underfire.campaigns.engines.base import Done, Queue
from underfire.campaigns.estimate import estimate
from underfire.campaigns.folder import Campaign
from underfire.campaigns.grid import Grid
from underfire.campaigns.running import run_campaign
from underfire.campaigns.units import Failure, Hands, Unit
from underfire.errors import StoppedError, StoreError
from underfire.runs import RunConfig, run_attack
from underfire.runs.execution import Execution
from underfire.runs.opened import Opened
from underfire.runs.plan import Plan

SETTINGS = {"data": "digits:test", "classifier": "digits-resnet", "count": 6, "steps": [1, 2], "interpreters": ["cam"]}
GRID = Grid.model_validate({"settings": SETTINGS, "grid": {"attack": ["adv2", "advedge"], "eps": ["0.1", "0.2"]}})
SMALL = Execution(batch_size=2)
"""Three shards for each cell."""


def content(folder: Path) -> Iterator[tuple[str, Any]]:
    """Everything that a run found: images, tensors, and rows without times."""
    for path in sorted((folder / "images").rglob("*.png")):
        yield path.relative_to(folder).as_posix(), path.read_bytes()
    for path in sorted((folder / "cells").rglob("*.safetensors")):
        yield path.name, {name: value.tobytes() for name, value in load_file(path).items()}
    yield "rows", pq.read_table(folder / "results.parquet").drop_columns(["seconds"]).to_pylist()


def same(one: Path, other: Path) -> bool:
    return list(content(one)) == list(content(other))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return run_campaign(GRID, tmp_path_factory.mktemp("whole") / "grid", execution=SMALL)


def test_each_run_is_what_attack_makes(whole: Campaign, tmp_path: Path) -> None:
    assert [entry.state for entry in whole] == ["finished"] * 4
    point = GRID.points()[-1]
    run_attack(point.config, tmp_path / "alone", batch_size=2)
    assert same(tmp_path / "alone", whole.folder_of(point.name))
    assert whole.run(point.name).configuration == point.config.to_dict()
    assert whole.progress(point.name) == (12, 12)


def test_results_do_not_depend_on_the_number_of_workers(whole: Campaign, tmp_path: Path) -> None:
    found = run_campaign(GRID, tmp_path / "grid", engine=Processes(3, threads=1), execution=SMALL)
    assert all(same(found.folder_of(entry.name), whole.folder_of(entry.name)) for entry in whole)


def test_shared_cells_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By counting what is written: 2 attacks x 2 eps have one clean cell; each eps has one noise.

    The controls differ: that of AdvEdge has weights, too.
    """
    written: list[str] = []
    taken: list[str] = []
    original, borrow = shards._Part._write, shards.borrow

    def note(part: Any, label: str, shard: Any) -> None:
        written.append(part.plan.cells[label].kind)
        original(part, label, shard)

    def note_borrowed(*arguments: Any) -> bool:
        found = borrow(*arguments)
        taken.extend([arguments[1].kind] if found else [])
        return found

    monkeypatch.setattr(shards._Part, "_write", note)
    monkeypatch.setattr(shards, "borrow", note_borrowed)
    run_campaign(GRID, tmp_path / "grid", execution=SMALL)
    counts = {kind: (written.count(kind), taken.count(kind)) for kind in ("clean", "noise", "control", "attack")}
    assert counts == {"clean": (3, 9), "noise": (6, 6), "control": (12, 0), "attack": (12, 0)}


class OneUnit:
    """Does one unit, and stops."""

    def perform(self, units: Sequence[Unit], done: Done, stop: Stop, hands: Hands) -> None:
        def once(unit: Unit, failure: Failure | None) -> None:
            done(unit, failure)
            stop.ask()

        Inline().perform(units, once, stop, hands)


def test_a_stopped_campaign_goes_on_elsewhere(whole: Campaign, tmp_path: Path) -> None:
    """Stopped after each unit in turn, and the folder moved to another place in between."""
    place = tmp_path / "0" / "grid"
    for count in range(11):
        with pytest.raises(StoppedError, match=f"^stopped: {11 - count} shards? left to attack"):
            run_campaign(GRID, place, resume=count > 0, engine=OneUnit(), execution=SMALL)
        moved = tmp_path / str(count + 1) / "grid"
        moved.parent.mkdir()
        shutil.move(place, moved)
        place = moved
    found = run_campaign(GRID, place, resume=True, engine=OneUnit(), execution=SMALL)
    assert all(same(found.folder_of(entry.name), whole.folder_of(entry.name)) for entry in whole)


def test_a_damaged_shard_is_done_again(whole: Campaign, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "grid")
    names = [entry.name for entry in whole]
    image = next((tmp_path / "grid" / "runs" / names[1] / "images" / "adv2").glob("*.png"))
    image.unlink()
    with pytest.warns(UserWarning, match=image.name):
        found = run_campaign(GRID, tmp_path / "grid", resume=True, execution=SMALL)
    assert all(same(found.folder_of(name), whole.folder_of(name)) for name in names)


def test_a_removed_run_leaves_the_others_whole(whole: Campaign, tmp_path: Path) -> None:
    """Cells that were taken over do not depend on the folder that they came from."""
    shutil.copytree(whole.path, tmp_path / "grid")
    first, *others = [entry.name for entry in whole]
    shutil.rmtree(tmp_path / "grid" / "runs" / first)
    for name in others:
        assert same(tmp_path / "grid" / "runs" / name, whole.folder_of(name))


def test_parts_make_the_whole(whole: Campaign, tmp_path: Path) -> None:
    """As an array of jobs does it: begin, the parts in any order, and the end."""
    place = tmp_path / "grid"
    with pytest.raises(StoreError, match=r"campaign\.json is missing"):
        run_campaign(GRID, place, execution=SMALL, part=(1, 3))
    begun = run_campaign(GRID, place, execution=SMALL, begin_only=True)
    assert {entry.state for entry in begun} == {"begun"}
    for part in (2, 3, 1):
        begun = run_campaign(GRID, place, execution=SMALL, part=(part, 3))
    assert all(begun.progress(entry.name) == (12, 12) for entry in begun)
    found = run_campaign(GRID, place, execution=SMALL, resume=True)
    assert all(same(found.folder_of(entry.name), whole.folder_of(entry.name)) for entry in whole)


def test_another_campaign_is_refused_and_a_larger_one_goes_on(whole: Campaign, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "grid")
    with pytest.raises(StoreError, match="holds a campaign: give --resume"):
        run_campaign(GRID, tmp_path / "grid", execution=SMALL)
    other = GRID.model_copy(update={"settings": {**SETTINGS, "seed": 1}})
    with pytest.raises(StoreError, match=r"in run adv2-eps0.1|in run adv2-0.1, .*seed"):
        run_campaign(other, tmp_path / "grid", resume=True, execution=SMALL)
    fewer = GRID.model_copy(update={"grid": {"attack": ["adv2", "advedge"], "eps": ["0.1"]}})
    with pytest.raises(StoreError, match="holds another campaign"):
        run_campaign(fewer, tmp_path / "grid", resume=True, execution=SMALL)
    more = GRID.model_copy(update={"include": [{"attack": "advedge+", "eps": "0.1"}]})
    found = run_campaign(more, tmp_path / "grid", resume=True, execution=SMALL)
    assert len(found.finished) == 5
    assert all(same(found.folder_of(entry.name), whole.folder_of(entry.name)) for entry in whole)


def test_foreign_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"mine\.txt, and no campaign"):
        run_campaign(GRID, tmp_path, resume=True)
    with pytest.raises(StoreError, match="is a file"):
        run_campaign(GRID, tmp_path / "mine.txt")
    (tmp_path / "mine.txt").unlink()
    (tmp_path / "campaign.json").write_text("{")
    with pytest.raises(StoreError, match=r"campaign\.json is damaged: it is no JSON"):
        Campaign(tmp_path)
    (tmp_path / "campaign.json").write_text(
        json.dumps({"format": 9, "name": "", "grid": {}, "runs": [], "configurations": {}})
    )
    with pytest.raises(StoreError, match="campaign format 9"):
        Campaign(tmp_path)


def test_agreed_attacks_what_both_get_right(tmp_path: Path) -> None:
    """By a slow replica: both classifiers, image by image."""
    settings = SETTINGS | {"count": 24, "data": "scenes:test", "steps": [1, 1]}
    both = {"classifier": ["scenes-resnet", "scenes-densenet"]}
    first, second = (
        point.config for point in Grid.model_validate({"settings": settings, "grid": both, "agreed": True}).points()
    )
    right = []
    for name in both["classifier"]:
        config = RunConfig.create(**{**first.to_dict(), "classifier": name, "also_right": None})
        inputs = Opened().open(config, "cpu")
        found = set()
        for index in range(40):
            batch = next(inputs.data.batches(inputs.classifier.image_size, 3, 1, [index], inputs.classifier.resizing))
            if inputs.classifier(batch.images).argmax(1).item() == batch.labels.item():
                found.add(batch.records[0].image_id)
        right.append(found)
    chosen = []
    for number, config in enumerate((first, second)):
        run_attack(config, tmp_path / str(number))
        rows = pq.read_table(tmp_path / str(number) / "results.parquet").to_pylist()
        chosen.append({row["image_id"] for row in rows if row["attack"] == "adv2"})
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 24
    assert right[0] != right[1], "or the test would show nothing"
    assert chosen[0] <= right[0] & right[1]


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = estimate(GRID.points(), SMALL)
    assert [(each.images, each.shards, each.cells, each.shared, each.steps) for each in found] == [
        (6, 3, 4, 0, 36),
        (6, 3, 3, 1, 36),
        (6, 3, 2, 2, 36),
        (6, 3, 2, 2, 36),
    ]
    assert all(each.seconds > 0 and each.bytes > 0 for each in found)
    assert not list(tmp_path.iterdir())


def test_a_dry_run_reads_the_same_maps_once_and_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    first, read, told = estimating._first, list[str](), list[tuple[int, int]]()

    def noted(plan: Plan, count: int) -> Any:
        read.append("".join(plan.experiment.system.interpreters))
        return first(plan, count)

    monkeypatch.setattr(estimating, "_first", noted)
    grid = {"interpreters": [["cam"], ["grad"]], "eps": ["0.1", "0.2"]}
    points = Grid.model_validate({"settings": SETTINGS, "grid": grid}).points()
    found = estimate(points, SMALL, lambda done, total: told.append((done, total)))
    assert sorted(read) == ["cam", "grad"]
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert all(each.seconds > 0 for each in found)


def test_a_queue_gives_units_after_those_that_they_wait_for() -> None:
    units = [
        Unit(number, f"run{number // 2}", number % 2, {}, "", SMALL, after=(number - 2,) if number >= 2 else ())
        for number in range(6)
    ]
    queue = Queue(units)
    first, second = queue.take(), queue.take()
    assert (first, second) == (units[0], units[1])
    assert queue.take() is None
    queue.finish(units[1])
    assert queue.take() == units[3]
    queue.put_back(units[3])
    assert queue.drop("run1") == [units[3], units[2]]
    assert queue.take() == units[4]
    assert queue.take() == units[5]
