"""``--overwrite``: the former run is there until the new one has a complete shard of every cell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, content, options
from tests.runs.test_resume import Watched
from underfire.errors import UnderfireError
from underfire.runs import run_attack, work
from underfire.runs.replacing import Former
from underfire.runs.store import Store

WRONG = """
import torch
from underfire.attacks import ClassRule, Measure, Term

SQUARE = Measure("square", "image", "float", "x", "of a wrong shape", compute=lambda seen: torch.zeros(3, 3))
TYPE = Measure("untrue", "image", "bool", "x", "of a wrong type", compute=lambda seen: seen.images.mean((1, 2, 3)))


class Beyond(ClassRule):
    name = "beyond"

    def classes(self, view, benign, seed):
        return benign.labels + 1000


class Broken(Term):
    name = "broken"

    def __call__(self, point):
        raise ZeroDivisionError("a mistake in a term")
"""


@pytest.fixture
def held(small: Written, tmp_path: Path) -> Path:
    """A folder that holds a finished run."""
    return Path(shutil.copytree(small.folder, tmp_path / "held"))


@pytest.mark.parametrize(
    "changes",
    [
        {"measures": ("SQUARE",)},
        {"measures": ("TYPE",)},
        {"target_class": "Beyond"},
        {"terms": ("Broken",)},
    ],
)
def test_a_run_that_cannot_work_gives_the_folder_back(held: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    before = content(held)
    ((name, part),) = changes.items()
    wrong = f"{tmp_path / 'wrong.py'}:{part if isinstance(part, str) else part[0]}"
    config = small_config(**{name: wrong if isinstance(part, str) else (wrong,)})
    with pytest.raises((UnderfireError, ZeroDivisionError, RuntimeError)):
        run_attack(config, held, overwrite=True)
    assert content(held) == before
    assert run_attack(small_config(), held, resume=True)


@pytest.mark.parametrize("at", range(8))
def test_an_interrupted_run_keeps_one_of_the_two(held: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cells in two shards: the former run goes when the first four are there."""
    before = content(held)
    with monkeypatch.context() as patch:
        Watched(patch, at)
        with pytest.raises(KeyboardInterrupt):
            run_attack(small_config(seed=5), held, overwrite=True, batch_size=1)
    if at < 4:
        assert content(held) == before
        return
    assert not (held / ".replaced").exists()
    run_attack(small_config(seed=5), held, resume=True)
    assert {row["seed"] for row in Written(held).rows} == {5}


def killed(*_: object) -> None:
    raise SystemError("killed")


@pytest.mark.parametrize("renames", range(9))
def test_a_process_killed_while_it_moves_the_former_run(
    held: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was moved by then: the next ``--overwrite`` that fails gives the whole run back."""
    before, rename, done = content(held), Path.rename, []

    def counted(path: Path, target: Path) -> Path:
        if len(done) == renames:
            killed()
        done.append(target)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        patch.setattr(Former, "put_back", killed)
        patch.setattr(Store, "write_shard", killed)
        with pytest.raises(SystemError, match="killed"):
            run_attack(small_config(seed=5), held, overwrite=True)
    with monkeypatch.context() as patch:
        patch.setattr(work, "attack_shard", killed)
        with pytest.raises(SystemError, match="killed"):
            run_attack(small_config(seed=6), held, overwrite=True)
    assert content(held) == before


def test_a_killed_run_can_be_resumed(held: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Former, "put_back", killed)
        Watched(patch, 2)
        with pytest.raises(SystemError, match="killed"):
            run_attack(small_config(seed=5), held, overwrite=True)
    assert (held / ".replaced" / "summary.json").exists()
    assert command(*options(out=held, seed=5, steps="1,1", count=2, resume=True)).code == 0
    assert not (held / ".replaced").exists()
    assert {row["seed"] for row in Written(held).rows} == {5}
