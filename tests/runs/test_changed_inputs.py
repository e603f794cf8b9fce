"""Inputs are hashed before a run's folder is believed, and odd names of images and folders get words."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, content, options, write_digits
from tests.runs.test_resume import Watched
from underfire.errors import DataError, InputError, StoreError
from underfire.runs import RunConfig, run_attack


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_digits(tmp_path / "data", range(4))


def config(data: Path, **changes: object) -> RunConfig:
    chosen = {"data": str(data), "classifier": "digits-resnet", "eps": 0.2, "steps": (1, 1)}
    return RunConfig.create(**(chosen | changes))


def test_a_finished_run_is_not_believed_for_changed_data(table: Path, tmp_path: Path) -> None:
    """Regression: it reported its old numbers, because the data were not looked at."""
    run_attack(config(table), tmp_path / "run")
    before = content(tmp_path / "run")
    picture = table.parent / "pictures" / "002.png"
    with Image.open(picture) as image:
        image.rotate(90).save(picture)
    with pytest.raises(StoreError, match=r"data_sha256 was .* images or labels of the data were changed"):
        run_attack(config(table), tmp_path / "run", resume=True)
    shutil.rmtree(table.parent)
    with pytest.raises((DataError, InputError)):
        run_attack(config(table), tmp_path / "run", resume=True)
    assert content(tmp_path / "run") == before


def test_a_finished_run_is_not_believed_for_other_weights(tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    text = "import underfire as uf\n\ndef build():\n    made = uf.classifiers.load('digits-resnet')\n    return made\n"
    model.write_text(text)
    run_attack(small_config(classifier=f"{model}:build"), tmp_path / "run")
    changed = text.replace("    return", "    made.module.head.bias.data.add_(0.25)\n    return")
    model.write_text(changed)
    with pytest.raises(StoreError, match=r"model\.py:build was"):
        run_attack(small_config(classifier=f"{model}:build"), tmp_path / "run", resume=True)


def test_a_finished_run_costs_no_attack_and_no_reading(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = run_attack(config(table), tmp_path / "run")
    before = content(tmp_path / "run")
    watched = Watched(monkeypatch)
    assert run_attack(config(table), tmp_path / "run", resume=True) == summary
    assert watched.performed == watched.written == []
    assert watched.readings == 0
    assert content(tmp_path / "run") == before


LONG = f"{'a' * 150}/{'b' * 150}.png"
HTML = "<img src=x onerror=alert(1)>&amp;.png"
LINES = "two\nlines.png"


def test_odd_ids_of_images(tmp_path: Path, command: Command) -> None:
    """Ids of 300 characters, with HTML, and with line ends: saved names are short and differ, and pages escape ids."""
    data = uf.data.open_data("digits:test")
    names = [LONG, f"{'a' * 150}/{'b' * 149}c.png", HTML, LINES]
    for index, name in enumerate(names):
        path = tmp_path / "data" / str(data.record(index).label) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data.read(index).save(path)
    for label in range(10):
        (tmp_path / "data" / str(label)).mkdir(exist_ok=True)
        data.read(next(i for i in range(len(data)) if data.record(i).label == label)).save(
            tmp_path / "data" / str(label) / "z.png"
        )
    words = options(data=tmp_path / "data", count=None, steps="1,1", out=tmp_path / "run", no_page=False)
    ended = command(*words)
    assert ended.code == 0, ended.err
    written = Written(tmp_path / "run")
    assert any(row["image_id"].endswith(LINES) for row in written.rows)
    files = {row["image_id"]: row["image_file"] for row in written.of("adv2")}
    assert len(set(files.values())) == len(files)
    assert all(len(Path(file).name) < 120 for file in files.values())
    assert all((tmp_path / "run" / file).is_file() for file in files.values())
    page = (tmp_path / "run" / "page.html").read_text()
    assert "<img src=x" not in page
    assert run_attack(config(tmp_path / "data", count=None), tmp_path / "run", resume=True)


def test_an_image_that_is_named_twice(table: Path, tmp_path: Path) -> None:
    table.write_text(f"{table.read_text()}pictures/001.png,3\n")
    with pytest.raises(DataError, match=r"lines 3 and 6 both name 'pictures/001\.png'"):
        run_attack(config(table), tmp_path / "run")


def test_names_that_no_file_can_have(tmp_path: Path, command: Command) -> None:
    long = "n" * 300
    for changes in (
        {"out": tmp_path / long},
        {"out": tmp_path / long, "resume": True},
        {"data": tmp_path / long, "out": tmp_path / "run"},
        {"classifier": f"{tmp_path / long}.py:build", "out": tmp_path / "run"},
        {"weights": tmp_path / f"{long}.pt", "out": tmp_path / "run"},
        {"target_map": tmp_path / f"{long}.npy", "out": tmp_path / "run"},
    ):
        ended = command(*options(**changes))
        assert ended.code == 2
        assert "Traceback" not in ended.err
        assert long[:40] in ended.said.replace(" ", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": "10000000000,1"}, "at most 1000000 in all"),
        ({"steps": "1,99999999999999999999999"}, "at most 1000000 in all"),
        ({"attack": "auto", "steps": None, "budget": "10000000000"}, "at most 1000000"),
        ({"noise_draws": "10000000000"}, "at most 1000"),
        ({"attack": "cw", "eps": None, "search": "10000000000"}, "at most 1000"),
    ],
)
def test_absurd_numbers(tmp_path: Path, command: Command, changes: dict[str, str], said: str) -> None:
    ended = command(*options(**changes, out=tmp_path / "run"))
    assert ended.code == 2
    assert said in ended.said
    assert not os.path.lexists(tmp_path / "run")


def test_a_radius_that_means_nothing_makes_no_other_run(tmp_path: Path) -> None:
    """An earlier version wrote eps down for C&W, too; of an attack in a ball it makes another run."""
    for attack in ("cw", "pgd"):
        chosen = small_config(attack=attack)
        summary = run_attack(chosen, tmp_path / attack)
        record = json.loads((tmp_path / attack / "run.json").read_text())
        assert record["configuration"]["eps"] == (None if attack == "cw" else [0.2])
        record["configuration"]["eps"] = 8 / 255
        (tmp_path / attack / "run.json").write_text(json.dumps(record))
        if attack == "cw":
            assert run_attack(chosen, tmp_path / attack, resume=True) == summary
        else:
            with pytest.raises(StoreError, match=r"eps was \[0\.03.*\], is \[0\.2\]"):
                run_attack(chosen, tmp_path / attack, resume=True)
