"""Data sets whose files lie a folder further down, and folders that are no classes although they hold images."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.layouts import png, put
from underfire.data import open_data
from underfire.errors import DataError, InputError, UnderfireWarning

HAM = "lesion_id{0}image_id{0}dx\nHAM_7{0}ISIC_0{0}nv\nHAM_7{0}ISIC_1{0}mel\n"
TRUTH = "image,MEL,NV\nISIC_0,0.0,1.0\nISIC_1,1.0,0.0\n"


def labels(path: Path, **options: Any) -> dict[str, str]:
    """Return the class name of each image."""
    data = open_data(path, **options)
    assert not data.load(channels=1).unreadable
    records = [data.record(index) for index in range(len(data))]
    return {record.image_id: data.class_names[record.label] for record in records}


@pytest.mark.parametrize(("name", "mark"), [("HAM10000_metadata.tab", "\t"), ("HAM10000_metadata", ",")])
def test_ham10000_as_dataverse_gives_it(tmp_path: Path, name: str, mark: str) -> None:
    put(tmp_path, "HAM10000_images_part_1/ISIC_0.jpg", "HAM10000_images_part_2/ISIC_1.jpg")
    with pytest.raises(DataError, match=r"names are those of parts of one set of images.*--class-level 1"):
        open_data(tmp_path)
    (tmp_path / "README").write_text("What, this is\n")
    (tmp_path / name).write_text(HAM.format(mark))
    want = {"HAM10000_images_part_1/ISIC_0.jpg": "nv", "HAM10000_images_part_2/ISIC_1.jpg": "mel"}
    assert labels(tmp_path) == want
    assert labels(tmp_path / name) == want


def test_isic_as_published(tmp_path: Path) -> None:
    put(tmp_path, "ISIC2018_Task3_Test_Input/ISIC_0.jpg", "ISIC2018_Task3_Test_Input/ISIC_1.jpg")
    table = tmp_path / "ISIC2018_Task3_Test_GroundTruth" / "ISIC2018_Task3_Test_GroundTruth.csv"
    table.parent.mkdir()
    table.write_text(TRUTH)
    assert labels(tmp_path) == {
        "ISIC2018_Task3_Test_Input/ISIC_0.jpg": "NV",
        "ISIC2018_Task3_Test_Input/ISIC_1.jpg": "MEL",
    }
    assert open_data(tmp_path).layout == "ISIC 2018 ground truth"
    other = tmp_path / "Other" / "labels.csv"
    other.parent.mkdir()
    other.write_text("image,label\n")
    assert len(open_data(tmp_path)) == 2
    other.write_text(TRUTH)
    with pytest.raises(DataError, match=r"holds several tables of labels: .*GroundTruth\.csv, .*labels\.csv"):
        open_data(tmp_path)


def test_a_table_of_other_things_in_a_class_folder(tmp_path: Path) -> None:
    put(tmp_path, "mel/1.png", "nv/1.png")
    (tmp_path / "mel" / "scans.csv").write_text("image,diagnosis\n1.png,sure\n")
    assert labels(tmp_path) == {"mel/1.png": "mel", "nv/1.png": "nv"}


@pytest.mark.parametrize(
    "names",
    [
        ("patient1/mel/1.png", "patient2/nv/2.png"),
        ("ILSVRC/Data/CLS-LOC/val/1.png", "ILSVRC/Data/CLS-LOC/val/2.png"),
        ("images/mel/1.png",),
        ("patient1/images/mel/1.png", "patient2/images/nv/2.png"),
    ],
)
def test_one_inner_folder_each_is_no_proof(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, *names)
    with pytest.raises(DataError, match=r"lie deeper than one folder.*--class-level 1.*--class-level 2"):
        open_data(tmp_path)
    assert open_data(tmp_path, class_level=1).class_names == tuple(sorted({name.split("/")[0] for name in names}))


def test_the_same_inner_folder_in_each_class(tmp_path: Path) -> None:
    put(tmp_path, "n01/images/1.png", "n02/images/2.png", "n02/images/more/3.png")
    assert open_data(tmp_path).class_names == ("n01", "n02")


def test_a_table_in_the_folder_of_each_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        put(tmp_path, f"{split}/a.png", f"{split}/b.png")
        (tmp_path / split / "metadata.csv").write_text("file_name,label\na.png,nv\nb.png,mel\n")
    with pytest.raises(DataError, match="--split train"):
        open_data(tmp_path)
    assert labels(tmp_path, split="train") == {"a.png": "nv", "b.png": "mel"}
    assert open_data(tmp_path, split="testing").layout == "Hugging Face imagefolder with metadata.csv"
    with pytest.raises(InputError, match="split is 'val'"):
        open_data(tmp_path, split="val")
    (tmp_path / "test" / "metadata.csv").unlink()
    with pytest.raises(DataError, match="test has no subfolders"):
        open_data(tmp_path, split="test")


def test_parquet_shards_with_a_hash(tmp_path: Path) -> None:
    for number in range(2):
        images = [{"bytes": png(number), "path": None}]
        name = f"test-0000{number}-of-00002-0c66ed8e2a4b3e7f.parquet"
        pq.write_table(pa.table({"image": images, "label": [number]}), tmp_path / name)
    assert open_data(tmp_path).layout == "2 parquet shards of 'test'"


def test_the_folder_that_torchvision_was_given(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 4, *range(32)]))
    (raw / "t10k-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 0]))
    for path in (tmp_path, tmp_path / "MNIST"):
        assert labels(path) == {"MNIST-test/00000": "1", "MNIST-test/00001": "0"}
    assert list(labels(raw)) == ["raw-test/00000", "raw-test/00001"]
    cifar = tmp_path / "cifar-10-batches-py"
    cifar.mkdir()
    pixels = np.zeros((2, 3072), np.uint8)
    (cifar / "test_batch").write_bytes(pickle.dumps({b"data": pixels, b"labels": [1, 0]}, protocol=2))
    (cifar / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}, protocol=2))
    with pytest.raises(
        DataError, match=r"several data sets: .*MNIST/raw, .*cifar-10-batches-py; .*Give the path of one"
    ):
        open_data(tmp_path)
    (tmp_path / "MNIST").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    assert list(labels(tmp_path).values()) == ["dog", "cat"]


@pytest.mark.parametrize("table", ["models/preds.csv", "info/quality.csv"])
def test_a_table_in_a_folder_beside_the_classes_is_no_table_of_labels(tmp_path: Path, table: str) -> None:
    """Regression: a table of something else took the place of the folders, without a word."""
    put(tmp_path, "cat/cat1.png", "dog/dog1.png", "dog/dog2.png")
    (tmp_path / table).parent.mkdir()
    (tmp_path / table).write_text("file,label\ncat/cat1.png,3\n")
    with pytest.warns(UnderfireWarning, match="hold no images"):
        names = open_data(tmp_path).class_names
    assert set(names) >= {"cat", "dog"}
    with pytest.warns(UnderfireWarning, match="hold no images"):
        assert len(open_data(tmp_path, class_level=1)) == 3


def test_a_split_of_class_folders_beside_a_table(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "labels.csv").write_text("file,label\ntrain/cat/1.png,cat\nval/dog/4.png,dog\n")
    assert len(open_data(tmp_path, split="val")) == 2
