"""Files are written whole or not at all, and what cannot be written is said in words."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import underfire as uf
from tests.disk import files_of_at_most
from underfire.checkpoints import load_checkpoint, save_checkpoint
from underfire.data.class_map import read_class_map
from underfire.data.csv_data import CsvData
from underfire.errors import InputError, StoreError
from underfire.files import make_folder, name_part, replacing, write_text
from underfire.reports.exports import export
from underfire.reports.output import writing_folder
from underfire.runs import RunConfig, run_attack


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")

    def interrupted() -> None:
        with replacing(file) as part:
            part.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_checkpoint_that_does_not_fit_on_the_disk(tmp_path: Path) -> None:
    """Regression: torch's own words were shown, "[enforce fail at inline_container.cc:672] . unexpected pos ..."."""
    save_checkpoint(tmp_path, {"step": 1})
    with (
        pytest.raises(StoreError) as caught,
        files_of_at_most(8192),
    ):
        save_checkpoint(tmp_path, {"step": torch.zeros(100_000)})
    said = "cannot be written: File too large. An earlier version of the file stays as it was."
    assert str(caught.value) == f"{tmp_path / 'checkpoint.pt'} {said}"
    assert load_checkpoint(tmp_path, "cpu") == {"step": 1}


def test_where_no_earlier_file_was_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        write_text(tmp_path / "nowhere" / "a.txt", "text")
    assert str(caught.value) == f"{tmp_path / 'nowhere' / 'a.txt'} cannot be written: No such file or directory."


@pytest.mark.parametrize(
    ("below", "said"), [("", "is a file; give a folder"), ("inner", "cannot be written: Not a directory")]
)
def test_a_file_in_the_place_of_a_folder(tmp_path: Path, below: str, said: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match=said):
        make_folder(tmp_path / "file" / below)
    make_folder(tmp_path / "new" / "deep")
    make_folder(tmp_path / "new" / "deep")
    assert (tmp_path / "new" / "deep").is_dir()


def test_whatever_lies_on_the_way_to_a_file_is_said(tmp_path: Path) -> None:
    """Regression: deleting the half-written file that never was raised an error of its own."""
    (tmp_path / "file").write_text("mine")
    long = tmp_path / ("x" * 300)
    for place, said in ((tmp_path / "file" / "a.txt", "Not a directory"), (long, "File name too long")):
        with pytest.raises(StoreError, match=f"cannot be written: {said}"):
            write_text(place, "text")
    with pytest.raises(StoreError, match="cannot be written: File name too long"):
        make_folder(long)


def test_files_and_folders_of_the_users_beside_it_are_left_alone(tmp_path: Path) -> None:
    """Regression: the temporary name was always NAME.part, and a user's file or folder of that name was deleted."""
    (tmp_path / "a.txt.part").write_text("mine")
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "mine.txt").write_text("mine")
    write_text(tmp_path / "a.txt", "new")
    with writing_folder(tmp_path / "out", "export") as part:
        (part / "b.txt").write_text("new")
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"a.txt", "a.txt.part", "out/b.txt", "out.part/mine.txt"}
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_two_writers_do_not_destroy_each_others_work(tmp_path: Path) -> None:
    """Regression: both wrote into one temporary file."""
    with replacing(tmp_path / "a.txt") as first:
        first.write_text("first")
        write_text(tmp_path / "a.txt", "second")
        assert first.read_text() == "first"
    assert (tmp_path / "a.txt").read_text() == "first"
    with writing_folder(tmp_path / "out", "export") as one:
        (one / "a.txt").write_text("one")
        with pytest.raises(KeyboardInterrupt), writing_folder(tmp_path / "out", "export"):
            raise KeyboardInterrupt
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "out"]


def test_what_killed_processes_left_is_removed_at_the_next_write(tmp_path: Path) -> None:
    """Regression: half-written files and folders of trainings, detectors, audits and exports stayed for ever."""
    day = 24 * 3600
    ages = {
        "a.txt.0123abcd.part": 2 * day,
        "a.txt.89abcdef.part": day // 2,  # perhaps another machine writes it at this moment
        "a.txt.part": 2 * day,  # these are the user's
        "a.txt.notes.part": 2 * day,
        "b.txt.0123abcd.part": 2 * day,
        "out.0123abcd.part/x": 2 * day,
        "out.89abcdef.part/x": day // 2,
        "out.part/x": 2 * day,
    }
    for name, age in ages.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
        for each in (path, path.parent):
            os.utime(each, (time.time() - age,) * 2)
    os.utime(tmp_path / "out.89abcdef.part", (time.time() - 2 * day,) * 2)  # a file in it is younger
    write_text(tmp_path / "a.txt", "new")
    with writing_folder(tmp_path / "out", "export") as part:
        (part / "x").write_text("new")
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"a.txt", "out/x", *ages} - {"a.txt.0123abcd.part", "out.0123abcd.part/x"}
    assert not (tmp_path / "out.0123abcd.part").exists()


# Both are a RuntimeError, as is what torch.save raises on a full disk.
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), NotImplementedError("later")])
def test_errors_that_are_not_of_the_disk_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)), replacing(tmp_path / "a.txt"):
        raise error


CALLS: dict[str, Callable[[Any], object]] = {
    "Run": uf.Run,
    "Campaign": uf.Campaign,
    "transfer": uf.transfer,
    "export": lambda folder: export(folder, "csv", "rows.csv"),
    "detectors.load": lambda folder: uf.detectors.load(folder, nn.Identity()),
    "CsvData": CsvData,
    "read_class_map": read_class_map,
    "run_attack": lambda folder: run_attack(
        RunConfig.create(data="builtin:digits", classifier="digits-resnet"), folder
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("value", [None, 3, ["runs/a"]])
def test_what_is_no_path(call: str, value: object) -> None:
    """Regression: Python's own TypeErrors, which name no argument."""
    with pytest.raises(InputError, match=rf"^(folder|run|path) is {re.escape(repr(value))}; expected a path"):
        CALLS[call](value)


def test_other_errors_than_the_disks_are_shown(tmp_path: Path) -> None:
    """Regression: an error raised while another one was handled was taken for the disk's."""

    def failing() -> None:
        with replacing(tmp_path / "page.html"):
            try:
                (tmp_path / "nowhere").read_text()
            except OSError:
                raise RuntimeError("my own")  # noqa: B904  # the chain is the point

    with pytest.raises(RuntimeError, match="my own"):
        failing()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"cannot be written: Is a directory\.$"):
        write_text(tmp_path / "folder", "text")


def test_a_folder_in_which_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: an audit found out after its first attack. Root may write everywhere, but not on a read-only disk."""
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    with pytest.raises(StoreError, match="cannot be written: permission denied, or a read-only disk"):
        make_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my_model:build", "my_model-build"),
        ("cifar10-resnet20", "cifar10-resnet20"),
        ("a/b c", "a-b-c"),
        ("::", "classifier"),
    ],
)
def test_names_of_classifiers_become_names_of_files_that_every_system_takes(name: str, expected: str) -> None:
    """Regression: trainings wrote ``my_model:build-robust.safetensors``, which Windows and scp do not take."""
    assert name_part(name) == expected
