"""Damage to a campaign's folder is repaired and named, or refused in words: never a traceback, never silence."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.kills_compare import compare
from tests.campaigns.damage import BEGUN, FINISHED, KINDS, Kind
from tests.campaigns.test_running import OneUnit
from underfire.campaigns.folder import Campaign
from underfire.campaigns.grid import Grid
from underfire.campaigns.running import run_campaign
from underfire.cli.report import report
from underfire.cli.status import show
from underfire.errors import StoppedError, UnderfireError, UnderfireWarning
from underfire.runs.execution import Execution

SETTINGS = {"data": "digits:test", "classifier": "digits-resnet", "count": 4, "steps": [1, 1], "eps": "0.2"}
GRID = Grid.model_validate({"settings": SETTINGS, "grid": {"attack": [FINISHED, BEGUN]}})
SMALL = Execution(batch_size=2)
"""Two shards for each cell."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_campaign(GRID, tmp_path_factory.mktemp("whole") / "grid", execution=SMALL).path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that was stopped after three of its four units: its second run has one of its two shards."""
    place = tmp_path_factory.mktemp("stopped") / "grid"
    for count in range(3):
        with pytest.raises(StoppedError):
            run_campaign(GRID, place, resume=count > 0, engine=OneUnit(), execution=SMALL)
    assert [entry.state for entry in Campaign(place)] == ["finished", "begun"]
    assert [Campaign(place).progress(name) for name in (FINISHED, BEGUN)] == [(8, 8), (4, 8)]
    return place


@contextmanager
def hearing(words: list[str]) -> Iterator[None]:
    """Context that adds the texts of our warnings, and of an error that is ours, to ``words``."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UnderfireWarning)
        try:
            yield
        except UnderfireError as error:
            words.append(f"error: {error}")
    words += [str(each.message) for each in said if isinstance(each.message, UnderfireWarning)]


def heard(act: Callable[[], object]) -> list[str]:
    words: list[str] = []
    with hearing(words):
        act()
    return words


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_damage(kind: Kind, stopped: Path, whole: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(stopped, tmp_path / "grid"))
    kind.harm(place)
    heard(lambda: show(place))  # may refuse in words
    seen = heard(lambda: report([place], out=tmp_path / "page.html"))
    if kind.seen:
        assert re.search(kind.seen, " ".join(seen)), seen
    words = heard(lambda: run_campaign(GRID, place, resume=True, execution=SMALL))
    if kind.end == "refused":
        assert re.search(kind.said, " ".join(words)), words
        assert words[0].startswith("error: ")
        return
    assert not any(text.startswith("error: ") for text in words), words
    entries = {entry.name: entry for entry in Campaign(place)}
    if kind.end == "failed":
        failed = {name: entry.error for name, entry in entries.items() if entry.state == "failed"}
        assert failed
        assert all(re.search(kind.said, text) for text in failed.values()), failed
        assert not any(text.startswith("unexpected") for text in failed.values()), failed
        for name in entries.keys() - failed.keys():
            assert compare(whole / "runs" / name, place / "runs" / name)[1] == []
        return
    assert {entry.state for entry in entries.values()} == {"finished"}, entries
    if kind.said:
        assert any(re.search(kind.said, text) for text in words), words
    differences = [text for text in compare(whole, place)[1] if "page.html" not in text]
    assert differences == []
    assert heard(lambda: run_campaign(GRID, place, resume=True, execution=SMALL)) == []  # nothing is left to be said


def test_there_are_at_least_40_kinds() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 40


@pytest.mark.parametrize("key", ["by_eps", "by_attack"])
def test_the_status_of_runs_with_several_results(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """Regression: healthy runs with several eps, or several attacks, were called damaged."""
    place = Path(shutil.copytree(whole, tmp_path / "grid"))
    path = next(place.glob("runs/*/summary.json"))
    held = json.loads(path.read_text())
    share = {"joint_success": {"cam": {"mean": 0.25, "low": 0.1, "high": 0.5, "n": 8}}, "interpreters": {}}
    cells = {"by_eps": [{}, {}], "by_attack": [{"cell": "adv2-a"}, {"cell": "adv2-b"}]}[key]
    parts = [cell | {"eps": eps} | share for cell, eps in zip(cells, (8 / 255, 0.2), strict=True)]
    path.write_text(json.dumps({name: held[name] for name in ("format", "images")} | {key: parts}))
    show(place)
    said = " ".join(capsys.readouterr().out.split())
    assert "damaged" not in said
    for name in ("adv2-a", "adv2-b") if key == "by_attack" else ("eps 8/255", "eps 0.2"):
        assert name in said.replace("- ", "-")
