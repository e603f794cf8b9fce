"""The image folder for Hugging Face: checked against the documented rules of its reader, written here anew."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.json
import pytest
import yaml
from PIL import Image

from tests.campaigns.campaign import run_inline, write_campaign
from tests.reports.fakes import Fake
from underfire.errors import InputError, StoreError
from underfire.reports.exports import export
from underfire.runs import Run

SPLIT_WORDS = {"train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation"}


def load(folder: Path) -> list[dict[str, Any]]:
    """Read an image folder by the rules of its reader.

    There is one metadata file, whose rows name the images below it in ``file_name``, and a column ``NAME_file_name`` is
    an image, too. Names with a word for a split would divide the data. Columns have the types of the first rows.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    (metadata,) = [path for path in files if path.name in ("metadata.csv", "metadata.jsonl", "metadata.parquet")]
    assert metadata.parent == folder
    for path in files:
        if path.name != "README.md":
            words = set(re.split(r"[-._ 0-9/]+", path.relative_to(folder).as_posix().lower()))
            assert not words & SPLIT_WORDS
            assert not any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)
    table = pyarrow.json.read_json(io.BytesIO(metadata.read_bytes()))
    lines = metadata.read_text().splitlines()
    begin = pyarrow.json.read_json(io.BytesIO("\n".join(lines[: min(len(lines), 12)]).encode()))
    assert begin.schema == table.schema
    assert "null" not in map(str, table.schema.types)
    rows = table.to_pylist()
    images = {path.relative_to(folder).as_posix() for path in files if path.suffix == ".png"}
    assert sorted(row["file_name"] for row in rows) == sorted(images)
    return [
        row | {key[: -len("_file_name")] or "image": folder / row[key] for key in row if key.endswith("file_name")}
        for row in rows
    ]


def test_every_saved_image_is_there_with_its_measures(tmp_path: Path) -> None:
    folder = Fake(count=4, interpreters=("cam", "grad"), reseeded=True, ids=("test", "NA", "007")).write(
        tmp_path / "test"
    )
    out = export(folder, "huggingface", tmp_path / "out")
    run, rows = Run(folder), load(out)
    assert sorted({row["kind"] for row in rows}) == ["attack", "clean", "control", "noise"]
    assert len(rows) == 4 * 4
    cells = {"attack": "adv2", "control": "pgd", "noise": "noise", "clean": "clean"}
    for row in rows:
        label = cells[row["kind"]]
        found = run.row(label, "cam", row["image_id"])
        assert np.array_equal(np.asarray(Image.open(row["image"])), run.image(found))
        assert np.array_equal(np.asarray(Image.open(row["clean"])), run.image(run.row("clean", "cam", row["image_id"])))
        order = run.image_ids.index(row["image_id"])
        for name in ("cam", "grad"):
            assert row[f"map_l1_{name}"] == run.column(label, name, "map_l1")[order]
            assert row[f"joint_success_{name}"] is bool(run.column(label, name, "joint_success")[order])
        assert row["joint_success_all"] is (row["joint_success_cam"] and row["joint_success_grad"])
        assert row["success"] is bool(run.column(label, "cam", "success")[order])
        assert (row["label"], row["label_name"]) == (order % 3, ("ant", "bee", "cat")[order % 3])
        assert row["target"] == (-1 if row["kind"] == "clean" else (order + 1) % 3)


class Masked(Fake):
    """Only the last image has a value of the measure on the object."""

    def mass_inside(self, i: int, attack: str) -> float | None:
        return 0.5 if i == self.count - 1 else None


def test_types_are_known_from_the_first_rows(tmp_path: Path) -> None:
    """A column that is empty in the first rows would get no type, and the reader would fail at its first value."""
    folder = Masked(count=30).write(tmp_path / "run")
    rows = load(export(folder, "huggingface", tmp_path / "out"))
    assert rows[1]["map_mass_inside_cam"] == 0.5 or rows[0]["map_mass_inside_cam"] == 0.5
    assert "eps" not in rows[0]  # no run of this data set has a value


def test_the_card_claims_no_licence(tmp_path: Path) -> None:
    folder = Fake(count=2).write(tmp_path / "run", {"data": "/home/someone/my`photos"})
    text = (export(folder, "huggingface", tmp_path / "out") / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    found = yaml.safe_load(head)
    assert found["license"] == "unknown"
    assert found["size_categories"] == ["n<1K"]
    assert "Origin and licence of the images are unknown" in body
    assert "`my'photos`" in body
    assert "someone" not in text, "the card is made to be shared"


def test_rows_tell_no_folders_of_the_machine(tmp_path: Path) -> None:
    folder = Fake(count=2).write(tmp_path / "run", {"data": ".", "classifier": "/home/someone/own.py:make"})
    out = export(folder, "huggingface", tmp_path / "out")
    assert {row["classifier"] for row in load(out)} == {"own.py:make"}
    assert "someone" not in (out / "metadata.jsonl").read_text()
    assert "call their data `a folder`" in (out / "README.md").read_text()


def test_columns_tell_no_folders_of_the_machine(tmp_path: Path) -> None:
    """Interpreters of one label are called by their whole paths."""
    names = ("/home/someone/own.py:Mine", "/home/anna/own.py:Mine", "cam")
    out = export(Fake(count=2, interpreters=names).write(tmp_path / "run"), "huggingface", tmp_path / "out")
    rows = load(out)
    assert {"map_l1_own.py:Mine_1", "map_l1_own.py:Mine_2", "map_l1_cam"} <= set(rows[0])
    assert "someone" not in (out / "metadata.jsonl").read_text()


def test_the_card_explains_joint_success(tmp_path: Path) -> None:
    """Regression: the card explained all columns but these, and the data set had no joint success of all maps."""
    folder = Fake(count=2, interpreters=("cam", "grad")).write(tmp_path / "run")
    text = (export(folder, "huggingface", tmp_path / "out") / "README.md").read_text()
    assert "- `joint_success`: class reached and map as wanted\n" in text
    assert "- `joint_success_all`: class reached and all maps as wanted\n" in text


def test_a_campaign_is_one_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "grid"
    run_inline(write_campaign(tmp_path), folder)
    rows = load(export(folder, "huggingface", tmp_path / "out"))
    assert {row["run"] for row in rows} == {"cam", "grad"}
    attacked = {name: Run(folder / "runs" / name).images["attacked"] for name in ("cam", "grad")}
    assert {name: sum(row["run"] == name for row in rows) for name in attacked} == {
        n: 4 * k for n, k in attacked.items()
    }


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path) -> None:
    folder = Fake(count=2).write(tmp_path / "run")
    with pytest.raises(InputError, match="out is missing: the format 'csv' writes a file"):
        export(folder, "csv")
    out = export(folder, "huggingface")
    assert out == tmp_path / "run-huggingface"
    before = json.dumps(sorted(map(str, out.rglob("*"))))
    with pytest.raises(StoreError, match="exists, and is no empty folder"):
        export(folder, "huggingface")
    assert json.dumps(sorted(map(str, out.rglob("*")))) == before
    shutil.rmtree(out)
    next((folder / "images" / "adv2").iterdir()).unlink()
    with pytest.raises(StoreError, match="run-huggingface cannot be written"):
        export(folder, "huggingface")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
