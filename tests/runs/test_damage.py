"""Damage to a run's folder is repaired and named, or refused in words: never a traceback, never silence."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import small_config
from tests.runs.damage import FINISHED, UNFINISHED, Folder, Kind
from tests.runs.runs import Written, assert_same_run, content
from underfire.errors import StoreError, UnderfireWarning
from underfire.runs import run_attack
from underfire.runs.store import Store

CONFIG = small_config(count=4)
SIZE = 1
"""Images in a shard: four shards."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("whole")
    run_attack(CONFIG, folder, batch_size=SIZE)
    return Written(folder)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed at the begin of its third shard."""
    folder = tmp_path_factory.mktemp("killed")
    write = Store.write_shard

    def killed(store: Store, key: str, index: int, shard: Any) -> None:
        if index == 2:
            raise KeyboardInterrupt
        write(store, key, index, shard)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            run_attack(CONFIG, folder, batch_size=SIZE)
    return folder


def check(kind: Kind, source: Path, folder: Path, whole: Written) -> None:
    shutil.copytree(source, folder)
    keys = {cell["label"]: cell["key"] for cell in json.loads((source / "run.json").read_text())["cells"]}
    kind.harm(Folder(folder, keys))
    if not kind.repaired:
        before = content(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnderfireWarning)
            with pytest.raises(StoreError) as refused:
                run_attack(CONFIG, folder, resume=True, batch_size=SIZE)
        assert re.search(kind.said, str(refused.value)), str(refused.value)
        kept = {name for name in before if not name.endswith(".json")}
        assert content(folder).keys() >= kept, "nothing but manifests of damaged shards is removed"
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UnderfireWarning)
        run_attack(CONFIG, folder, resume=True, batch_size=SIZE)
    words = [str(each.message) for each in said if isinstance(each.message, UnderfireWarning)]
    assert any("was damaged" in text and re.search(kind.said, text) for text in words), words
    assert_same_run(whole, Written(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_attack(CONFIG, folder, resume=True)  # nothing is left to be said


@pytest.mark.parametrize("kind", UNFINISHED, ids=str)
def test_a_killed_run(kind: Kind, killed: Path, whole: Written, tmp_path: Path) -> None:
    check(kind, killed, tmp_path / "run", whole)


@pytest.mark.parametrize("kind", FINISHED, ids=str)
def test_a_finished_run(kind: Kind, whole: Written, tmp_path: Path) -> None:
    check(kind, whole.folder, tmp_path / "run", whole)


def test_there_are_at_least_40_kinds() -> None:
    assert len({kind.name for kind in (*UNFINISHED, *FINISHED)}) >= 40


def test_without_damage_nothing_is_said(killed: Path, whole: Written, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(killed, tmp_path / "run"))
    run_attack(CONFIG, folder, resume=True)
    assert_same_run(whole, Written(folder))


def test_half_written_files_are_no_damage(killed: Path, whole: Written, tmp_path: Path) -> None:
    """A killed process leaves them; a run that is finished removes them."""
    folder = Path(shutil.copytree(killed, tmp_path / "run"))
    key = next(iter(json.loads((folder / "run.json").read_text())["cells"]))["key"]
    names = (f"cells/{key}/000002.safetensors.0a1b2c3d.part", "run.json.89abcdef.part", "summary.json.0a1b2c3d.part")
    for name in names:
        (folder / name).write_bytes(b"half")
    for name in ("mine.part", "run.json.part"):
        (folder / name).write_bytes(b"a file of the user's")
    run_attack(CONFIG, folder, resume=True)
    assert sorted(path.name for path in folder.rglob("*.part")) == ["mine.part", "run.json.part"]
    (folder / "mine.part").unlink()
    (folder / "run.json.part").unlink()
    assert_same_run(whole, Written(folder))
