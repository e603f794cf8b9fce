"""Manifests: a shard is complete if its manifest is there, and its files are as the manifest says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import Written, assert_same_run
from underfire.errors import StoreError
from underfire.runs import Run, disk, manifest, run_attack, shard_files
from underfire.runs.store import Store

KEY = "0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of a shard and its manifest."""
    (tmp_path / "cells" / KEY).mkdir(parents=True)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"an image")
    (tmp_path / "cells" / KEY / "000003.parquet").write_bytes(b"rows")
    manifest.write(tmp_path, KEY, 3, ["images/a.png", f"cells/{KEY}/000003.parquet"], [5, 7])
    return tmp_path


def test_the_content(folder: Path) -> None:
    content = manifest.read(folder, KEY, 3)
    assert content["positions"] == [5, 7]
    assert content["files"][0] == {
        "file": "images/a.png",
        "bytes": 8,
        "sha256": hashlib.sha256(b"an image").hexdigest(),
    }
    assert manifest.verify(folder, KEY, 3) == manifest.verify(folder, KEY, 3, [5, 7]) == []
    assert manifest.verify(folder, KEY, 3, [5]) == [f"cells/{KEY}/000003.json lists other images"]
    assert manifest.verify(folder, KEY, 4) == [f"cells/{KEY}/000004.json is missing"]


def test_the_folder_may_move(folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(folder, tmp_path.with_name(f"{tmp_path.name}-moved")))
    assert manifest.verify(moved, KEY, 3) == []
    assert str(folder) not in manifest.manifest_file(moved, KEY, 3).read_text()


@pytest.mark.parametrize("path", ["/etc/hostname", "../a.png", "images/../../a.png"])
def test_a_path_that_leads_outside_is_never_read(folder: Path, path: str) -> None:
    entry = {"file": path, "bytes": 1, "sha256": ""}
    assert manifest.changes(folder, [entry]) == [f"{path} lies outside of the run's folder"]


def test_a_missing_file_makes_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "cells" / KEY).mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        manifest.write(tmp_path, KEY, 0, ["images/a.png"], [0])
    assert list((tmp_path / "cells" / KEY).iterdir()) == []


def test_a_run_has_a_manifest_for_every_shard(small: Written) -> None:
    store = Store(small.folder, small.run["configuration"], resume=True)
    for label, key in small.keys.items():
        assert manifest.verify(small.folder, key, 0) == []
        files = store.shard_files(key, 0)
        rows = small.of_cell(label)
        assert {path for path in files if path.suffix == ".png"} == {small.folder / row["image_file"] for row in rows}
        made = {path for path in (small.folder / "cells" / key).iterdir() if path.suffix != ".json"}
        assert {path for path in files if path.suffix != ".png"} == made
        assert all(path.is_file() for path in files)
    with pytest.raises(StoreError, match=r"has no such part: cells/.*/000009\.json is missing"):
        store.shard_files(small.keys["adv2"], 9)


def test_everything_is_on_the_disk_before_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of a shard is synchronised, then its folder, and only then does the manifest get its name."""
    events: list[tuple[str, str]] = []
    sync, rename = os.fsync, Path.replace

    def synced(handle: int) -> None:
        events.append(("sync", os.path.realpath(f"/proc/self/fd/{handle}")))
        sync(handle)

    def renamed(path: Path, target: Path) -> Path:
        events.append(("rename", os.path.realpath(target)))
        return rename(path, target)

    monkeypatch.setattr(disk.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    run_attack(small_config(count=1), tmp_path / "run")
    written = Written(tmp_path / "run")
    store = Store(tmp_path / "run", written.run["configuration"], resume=True)
    for key in written.keys.values():
        complete = events.index(("rename", os.path.realpath(manifest.manifest_file(tmp_path / "run", key, 0))))
        for path in store.shard_files(key, 0):
            named, safe = (events.index((what, os.path.realpath(path))) for what in ("rename", "sync"))
            assert named < safe < complete
            assert ("sync", os.path.realpath(path.parent)) in events[named:complete]


@pytest.mark.parametrize("suffix", ["png", "safetensors", "trace", "parquet", "json"])
def test_a_full_disk_costs_the_shard_in_hand(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(count=4)
    run_attack(config, tmp_path / "whole", batch_size=2)
    whole, replace = Written(tmp_path / "whole"), disk.replace
    key = whole.keys["adv2"]

    def full(path: Path, write: Any, **more: Any) -> None:
        ours = path.parent.name in (key, "adv2") and path.name.startswith(("000001.", "000002-"))
        if ours and path.suffix == f".{suffix}":

            def write(part: Path) -> None:
                part.write_bytes(b"ha")
                raise OSError(28, "No space left on device")

        replace(path, write, **more)

    with monkeypatch.context() as patch:
        for module in ("store", "shard_files", "manifest"):
            patch.setattr(f"underfire.runs.{module}.replace", full)
        with pytest.raises(StoreError, match="cannot be written: No space left on device"):
            run_attack(config, tmp_path / "run", batch_size=2)
    assert not list((tmp_path / "run").rglob("*.part"))
    assert not (tmp_path / "run" / "cells" / key / "000001.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("cells/*/*.json")}
    assert len(kept) == 6, "all cells of the first shard, and two of the second"
    if suffix == "json":  # the rows are there, which looks like a lost manifest
        with pytest.warns(UserWarning, match=r"000001\.json is missing .part 2 of adv2"):
            run_attack(config, tmp_path / "run", resume=True)
    else:
        run_attack(config, tmp_path / "run", resume=True)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert_same_run(whole, Written(tmp_path / "run"))


def test_two_processes_may_write_the_same_file(tmp_path: Path) -> None:
    """As two jobs do that got the same part of a campaign: one begins and ends while the other one writes."""
    path = tmp_path / "000001.json"

    def slow(part: Path) -> None:
        part.write_text("half")
        disk.replace(path, lambda other: other.write_text("of the other process"))
        assert path.read_text() == "of the other process"
        part.write_text("whole")

    disk.replace(path, slow)
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_of_the_tensors_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer of safetensors raises an error of its own."""
    from safetensors import SafetensorError

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(StoreError, match=r"cannot be written: I/O error: No space left on device"):
        run_attack(small_config(), tmp_path)


def test_damaged_tensors_are_named(small: Written, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small.folder, tmp_path / "run"))
    shard_files.path_of(folder, small.keys["clean"], 0, "safetensors").write_bytes(b"half")
    with pytest.raises(StoreError, match=r"000000\.safetensors cannot be read: .*--resume makes it again"):
        shard_files.read_tensors(folder, small.keys["clean"], 0)


def test_runs_of_the_former_format_are_read(small: Written, tmp_path: Path) -> None:
    """Version 2 had no manifests."""
    folder = Path(shutil.copytree(small.folder, tmp_path / "run"))
    for path in folder.glob("cells/*/*.json"):
        path.unlink()
    record = small.run | {"format": 2}
    del record["made"], record["starts"]
    (folder / "run.json").write_text(json.dumps(record))
    assert Run(folder).summary() == Run(small.folder).summary()
    assert run_attack(small_config(), folder, resume=True) == small.summary
    (folder / "run.json").write_text(json.dumps(record | {"finished": False}))
    with pytest.raises(StoreError, match="folder format 2, expected 3"):
        run_attack(small_config(), folder, resume=True)
