"""``open_data``: data sets by name or path."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import underfire.data
from underfire.data import CsvData, Digits, FolderData, ParquetData, open_data
from underfire.errors import DataError, InputError

WriteImage = Callable[..., Path]


@pytest.mark.parametrize(("spec", "count"), [("digits", 1797), ("digits:test", 359), ("digits:train", 1438)])
def test_digits(spec: str, count: int) -> None:
    data = open_data(spec)
    assert isinstance(data, Digits)
    assert len(data) == count


def test_digits_are_not_a_folder_unless_a_path_says_so(
    tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image("digits/zero/1.png")
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_data("digits"), Digits)
    for spec in ("./digits", Path("digits")):
        data = open_data(spec)
        assert isinstance(data, FolderData)
        assert data.class_names == ("zero",)


def test_a_folder_of_classes(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("cat/1.png")
    (tmp_path / "readme.txt").touch()
    (tmp_path / "classes.csv").write_text("number,meaning\n0,cat\n")
    for spec in (tmp_path, str(tmp_path)):
        data = open_data(spec)
        assert isinstance(data, FolderData)
        assert data.record(0).image_id == "cat/1.png"


def test_the_home_folder(tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image("set/cat/1.png")
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert open_data("~/set").name == "set"


def test_a_folder_with_a_table(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("1.png")
    (tmp_path / "labels.CSV").write_text("file,label\n1.png,3\n")
    (tmp_path / ".backup.csv").write_text("file,label\n1.png,4\n")
    (tmp_path / "sizes.csv").write_text("file,width\n1.png,4\n")
    for spec in (tmp_path, tmp_path / "labels.CSV"):
        data = open_data(spec)
        assert isinstance(data, CsvData)
        assert data.record(0).label == 3


def test_a_table_goes_before_the_subfolder_that_it_names(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("images/1.png")
    write_image("images/2.png")
    (tmp_path / "labels.csv").write_text("file,label\nimages/1.png,cat\nimages/2.png,dog\n")
    assert open_data(tmp_path).class_names == ("cat", "dog")


def test_a_parquet_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), 5).save(buffer, "PNG")
    path = tmp_path / "val.parquet"
    pq.write_table(pa.table({"image": [buffer.getvalue()], "label": [0]}), path)
    assert isinstance(open_data(path), ParquetData)
    with pytest.raises(DataError, match=r"folder of parquet files; give the path of one: val\.parquet"):
        open_data(tmp_path)


def test_malformed_tables_are_not_taken_for_something_else(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("cat/1.png")
    (tmp_path / "labels.csv").write_text("file,label\ncat/1.png\n")
    with pytest.raises(DataError, match=r"labels\.csv, line 2"):
        open_data(tmp_path)


def test_folders_that_cannot_be_used(tmp_path: Path, write_image: WriteImage) -> None:
    with pytest.raises(DataError, match=r"is an empty folder; expected .*subfolder.*CSV.*parquet"):
        open_data(tmp_path)
    write_image("1.png")
    with pytest.raises(DataError, match="holds 1 image, but their classes are not known"):
        open_data(tmp_path)
    (tmp_path / "a.csv").write_text("file,width\n1.png,4\n")
    with pytest.raises(DataError, match=r"a\.csv, line 1: no label column"):
        open_data(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("file,label\n1.png,4\n")
    with pytest.raises(DataError, match=r"several CSV files of labels: a\.csv, b\.csv"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digts", "Did you mean 'digits'"),
        ("Digits", "Did you mean 'digits'"),
        ("digits:tset", "Did you mean 'digits:test'"),
        ("scene", "Did you mean 'scenes'"),
        (
            "qqq",
            "unknown data set 'qqq'. Known: digits, digits:test, digits:train, photos, scenes, scenes:test, "
            "scenes:train. Or the path of a folder",
        ),
        ("", "name of the data set is empty"),
    ],
)
def test_unknown_names(spec: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        open_data(spec)


def test_missing_paths_suggest_similar_names(
    tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image("holiday/cat/1.png")
    monkeypatch.chdir(tmp_path)
    for spec in ("holidays", tmp_path / "holidays", "./holidais/cat", Path("holidays")):
        with pytest.raises(DataError, match=r"does not exist; .* Did you mean '.*holiday'\? Expected digits"):
            open_data(spec)
    with pytest.raises(
        DataError, match=r"^data is '.*zzz\.parquet', which does not exist; the nearest folder that does is .*\. Exp"
    ):
        open_data("zzz.parquet")


def test_files_of_another_kind(tmp_path: Path, write_image: WriteImage) -> None:
    with pytest.raises(DataError, match=r"is one image, .*put it into root/class/ .*underfire explain --data"):
        open_data(write_image("1.png"))
    (tmp_path / "a.h5").touch()
    with pytest.raises(DataError, match="file of an unknown kind"):
        open_data(tmp_path / "a.h5")


def test_names_that_no_file_can_have() -> None:
    for spec in ("x/" + "y" * 5000, "x/\0"):
        with pytest.raises(DataError, match="does not exist"):
            open_data(spec)


def test_importing_the_package_is_light() -> None:
    heavy = "{'pyarrow', 'sklearn', 'pandas', 'scipy', 'torchvision'} & set(sys.modules)"
    code = f"import sys, torch; before = set({heavy}); import underfire.data; print(sorted({heavy} - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names() -> None:
    assert sorted(underfire.data.__all__) == [
        "Batch",
        "CsvData",
        "Digits",
        "FolderData",
        "ImageData",
        "ParquetData",
        "Photographs",
        "Record",
        "RelabelledData",
        "Resizing",
        "Scenes",
        "TensorData",
        "in_classifier_order",
        "open_data",
        "prepare",
        "read_class_map",
    ]
    assert all(hasattr(underfire.data, name) for name in underfire.data.__all__)
    assert callable(underfire.data.prepare)
