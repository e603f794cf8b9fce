"""Every start of a run is written down, and a run that goes on under other conditions says so."""

from __future__ import annotations

import getpass
import json
import platform
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from tests.runs.conftest import small_config
from tests.runs.runs import Written
from tests.runs.test_resume import unfinished
from underfire.errors import UnderfireWarning
from underfire.runs import run_attack, starts
from underfire.runs.environment import device_of, versions


def starts_of(folder: Path) -> list[dict[str, object]]:
    return list(json.loads((folder / "run.json").read_text())["starts"])


def test_a_start_is_written_down(small: Written) -> None:
    (start,) = starts_of(small.folder)
    assert start["versions"] == versions()
    assert start["threads"] == torch.get_num_threads()
    assert start["device"] == device_of(torch.device("cpu"))
    assert abs((datetime.now(UTC) - datetime.fromisoformat(str(start["time"]))).total_seconds()) < 86400
    assert str(start["time"]).endswith("+00:00")


def test_neither_host_nor_user_are_named(small: Written) -> None:
    text = json.dumps(starts_of(small.folder))
    assert platform.node() not in text
    assert getpass.getuser() not in text


def test_the_same_conditions_need_no_words(small: Written, tmp_path: Path) -> None:
    folder = unfinished(small.folder, tmp_path / "run")
    run_attack(small_config(), folder, resume=True)
    first, second = starts_of(folder)
    assert {**first, "time": None} == {**second, "time": None}


def test_a_finished_run_gets_no_further_start(small: Written, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small.folder, tmp_path / "run"))
    run_attack(small_config(), folder, resume=True)
    assert len(starts_of(folder)) == 1


def test_other_threads_are_named(small: Written, tmp_path: Path) -> None:
    folder = unfinished(small.folder, tmp_path / "run")
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.warns(UnderfireWarning, match=f"other conditions.*: threads was {before}, is {before + 1}"):
            run_attack(small_config(), folder, resume=True)
    finally:
        torch.set_num_threads(before)
    assert [start["threads"] for start in starts_of(folder)] == [before, before + 1]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("versions", lambda: versions() | {"torch": "9.9"}, r"torch was '.*', is '9\.9'"),
        ("device_of", lambda _: {"type": "cuda", "name": "a GPU"}, "device was 'cpu .*', is 'cuda a GPU'"),
    ],
)
def test_other_versions_and_devices_are_named(
    small: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object, said: str
) -> None:
    folder = unfinished(small.folder, tmp_path / "run")
    monkeypatch.setattr(starts, name, value)
    with pytest.warns(UnderfireWarning, match=said):
        run_attack(small_config(), folder, resume=True)
