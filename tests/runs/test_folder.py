"""What happens to the output folder, and to what others keep in it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, assert_same_run, content, options, process
from underfire.attacks import KINDS
from underfire.errors import ClassifierError, InputError, StoreError, UnderfireWarning
from underfire.runs import run_attack


@pytest.fixture
def held(small: Written, tmp_path: Path) -> Path:
    """A folder that holds a finished run."""
    return Path(shutil.copytree(small.folder, tmp_path / "held"))


def add(folder: Path, name: str, text: str = "mine") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_folder_that_holds_something_is_refused(held: Path, tmp_path: Path, command: Command) -> None:
    add(tmp_path / "foreign", "thesis.tex")
    for folder in (held, tmp_path / "foreign"):
        before = content(folder)
        ended = command(*options(out=folder))
        assert ended.code == 2
        assert "not empty" in ended.said
        assert "--resume" in ended.said
        assert "--overwrite" in ended.said
        assert content(folder) == before


def test_an_empty_folder_and_a_missing_one_are_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run_attack(small_config(), tmp_path / "empty")
    run_attack(small_config(), tmp_path / "not" / "there", resume=True)
    assert_same_run(Written(tmp_path / "empty"), Written(tmp_path / "not" / "there"))


def test_overwriting_leaves_nothing_of_the_earlier_run(held: Path, tmp_path: Path) -> None:
    add(held, "cells/0123456789abcdef/000001.parquet.part", "a killed run leaves such files")
    add(held, "cells/0123456789abcdef/000001.safetensors", "and such")
    add(held, "results.parquet.part")
    add(held, "summary.json.0a1b2c3d.part")
    for former in ("shards/000001.parquet", "maps.safetensors", "masks.safetensors"):
        add(held, former, "earlier versions wrote such files")
    config = small_config(count=1, seed=5, attack="pgd")
    run_attack(config, held, overwrite=True)
    run_attack(config, tmp_path / "fresh")
    assert_same_run(Written(held), Written(tmp_path / "fresh"))
    assert {row["seed"] for row in Written(held).rows} == {5}


@pytest.mark.parametrize("attack", [*KINDS, "torchattacks-pgd"])
def test_overwriting_knows_the_images_of_every_attack(held: Path, attack: str) -> None:
    add(held, f"images/{attack}/000000-a.png")
    run_attack(small_config(count=1), held, overwrite=True)
    assert not (held / f"images/{attack}/000000-a.png").exists()


@pytest.mark.parametrize(
    "foreign",
    [
        *("thesis.tex", "images/holiday.png", "images/clean/notes.txt", "shards/mine.parquet", "code/run.json"),
        *("cells/mine.parquet", "cells/0123456789abcdef/mine.parquet", "cells/thesis/000000.parquet"),
    ],
)
def test_overwriting_refuses_what_no_run_wrote(held: Path, foreign: str) -> None:
    add(held, foreign)
    before = content(held)
    with pytest.raises(StoreError, match="which no run wrote") as refused:
        run_attack(small_config(), held, overwrite=True)
    assert foreign.split("/")[0] in str(refused.value)
    assert content(held) == before


def test_overwriting_refuses_a_folder_without_a_run(tmp_path: Path) -> None:
    add(tmp_path / "a", "images/clean/000000-x.png")
    add(tmp_path / "b", "run.json", '{"name": "a configuration of another program"}')
    add(tmp_path / "c", "run.json", "not json")
    for name in "abc":
        before = content(tmp_path / name)
        with pytest.raises(StoreError, match=r"no run\.json of a run"):
            run_attack(small_config(), tmp_path / name, overwrite=True)
        with pytest.raises(StoreError, match="no run that could be resumed"):
            run_attack(small_config(), tmp_path / name, resume=True)
        assert content(tmp_path / name) == before


def test_overwriting_does_not_follow_links(held: Path, tmp_path: Path) -> None:
    add(tmp_path / "elsewhere", "000000-x.png")
    (held / "images" / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="images/linked"):
        run_attack(small_config(), held, overwrite=True)
    assert (tmp_path / "elsewhere" / "000000-x.png").exists()


def test_a_run_that_cannot_begin_overwrites_nothing(held: Path) -> None:
    before = content(held)
    with pytest.raises(InputError, match="unknown target"):
        run_attack(small_config(target_class="nobody"), held, overwrite=True)
    with pytest.raises(InputError, match="unknown data set"):
        run_attack(small_config(data="digitz"), held, overwrite=True)
    assert content(held) == before


def test_after_bad_input_the_corrected_command_works(tmp_path: Path, command: Command) -> None:
    assert command(*options(target_class="nobody", count=1, out=tmp_path / "out")).code == 2
    assert command(*options(classifier="nobody", count=1, out=tmp_path / "out")).code == 2
    assert command(*options(count=1, out=tmp_path / "out")).code == 0


@pytest.mark.parametrize("below", ["", "inner"])
def test_a_file_in_the_way(tmp_path: Path, command: Command, below: str) -> None:
    add(tmp_path, "file")
    ended = command(*options(out=tmp_path / "file" / below))
    assert ended.code == 2
    assert ("cannot be written" if below else "is a file; give a folder.") in ended.said
    assert "Traceback" not in ended.err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_fails_midway(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full_disk)
    ended = command(*options(out=tmp_path / "out"))
    assert ended.code == 2
    assert "cannot be written: No space left on device" in ended.said


def test_both_flags_at_once(held: Path, command: Command) -> None:
    before = content(held)
    ended = command(*options(out=held, resume=True, overwrite=True))
    assert ended.code == 2
    assert "contradict" in ended.said
    assert content(held) == before


def test_a_path_with_brackets_is_shown_as_it_is(tmp_path: Path, command: Command) -> None:
    """Brackets are markup to the library that prints."""
    folder = tmp_path / "run[bold][/red]"
    assert "run[bold][/red]" in "".join(command(*options(count=1, out=folder)).out.split())
    ended = command(*options(count=1, out=folder))
    assert ended.code == 2
    assert "run[bold][/red]" in "".join(ended.err.split())


def test_a_second_process_is_refused(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "out"
    running = process(*options(out=folder, steps="400,800", count=8))
    try:
        deadline = time.monotonic() + 60
        while not (folder / "run.json").exists():
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for flag in ("resume", "overwrite"):
            ended = command(*options(out=folder, steps="400,800", count=8, **{flag: True}))
            assert ended.code == 2
            assert "in use" in ended.said
        assert running.poll() is None
        assert (folder / "run.json").exists()
    finally:
        running.kill()
        running.communicate()
    run_attack(small_config(), folder, overwrite=True)  # the lock went with the process that was killed
    assert Written(folder).run["finished"]


def test_a_run_that_fails_at_once_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the corrected command need not say --overwrite. The clean images and the control, which are
    done before the attack, do not count."""

    def fail(*_: object) -> None:
        raise ClassifierError("no second derivative")

    with monkeypatch.context() as patch:
        patch.setattr("underfire.attacks.attack.probe_views", fail)
        with pytest.raises(ClassifierError):
            run_attack(small_config(), tmp_path)
    assert content(tmp_path) == {}
    run_attack(small_config(), tmp_path)


def test_fewer_images_than_asked_for_are_named(tmp_path: Path) -> None:
    with pytest.warns(UnderfireWarning, match=r"count is 2000, but 'digits-test' has only 35\d images"):
        run_attack(small_config(count=2000, attack="bim"), tmp_path)
