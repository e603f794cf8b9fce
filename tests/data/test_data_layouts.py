"""Data sets as their publishers lay them out: tables, folders and shards. Each is recognised by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from tests.data.layouts import NAMES, level, png, put
from underfire.data import ImageData, in_classifier_order, open_data
from underfire.errors import DataError, InputError


def classes(data: ImageData) -> list[str]:
    """The class name of each image, after a look at the pixels: image i has level i."""
    batch = data.load(channels=1)
    assert not batch.unreadable
    assert batch.images[:, 0, 0, 0].mul(255).round().tolist() == [level(number) for number in range(len(data))]
    assert len(data.fingerprint()) == 64
    return [data.class_names[label] for label in batch.labels.tolist()]


def test_isic(tmp_path: Path) -> None:
    put(tmp_path, "ISIC_0.jpg", "ISIC_1.jpg", "ISIC_2.jpg")
    rows = "ISIC_0,0.0,1.0,0.0\nISIC_1,1.0,0.0,0.0\nISIC_2,0.0,1.0,0.0\n"
    for year, unused in (("2018", "AKIEC"), ("2019", "UNK")):
        (tmp_path / "GroundTruth.csv").write_text(f"image,MEL,NV,{unused}\n{rows}")
        data = open_data(tmp_path)
        assert classes(data) == ["NV", "MEL", "NV"]
        assert data.describe() == f"ISIC {year} ground truth, 3 classes, 3 images"
    # The test images of 2019 have a class that no network has.
    assert classes(in_classifier_order(data, ["nv", "mel"])) == ["nv", "mel", "nv"]


def test_ham10000(tmp_path: Path) -> None:
    put(tmp_path, "HAM10000_images_part_1/ISIC_0.jpg", "HAM10000_images_part_2/ISIC_1.jpg")
    (tmp_path / "HAM10000_metadata.csv").write_text(
        "lesion_id,image_id,dx,dx_type,age,sex,localization\nHAM_7,ISIC_0,nv,histo,80.0,male,scalp\n"
        "HAM_7,ISIC_1,mel,histo,,female,back\n"
    )
    data = open_data(tmp_path)
    assert classes(data) == ["nv", "mel"]
    assert data.describe() == "HAM10000 metadata, 2 classes, 2 images"


def test_imagefolder_with_metadata(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "more/b.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,nv\nmore/b.png,mel\n")
    data = open_data(tmp_path)
    assert classes(data) == ["nv", "mel"]
    assert data.layout == "Hugging Face imagefolder with metadata.csv"


def test_imagenet_v2(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.png").write_bytes(png(number % 3))
    data = open_data(tmp_path)
    assert data.describe() == "1000 numbered folders, as in ImageNetV2, 1000 classes, 1000 images"
    assert [data.record(place).label for place in (2, 10, 999)] == [2, 10, 999]


def kit(root: Path, numbers: str) -> None:
    root.mkdir(parents=True)
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text(numbers)
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    entries = np.array([(1, "n03", 0), (2, "n01", 0), (3, "n02", 0), (4, "n00", 3)], dtype=kind)
    savemat(root / "meta.mat", {"synsets": entries})


def test_imagenet_with_the_development_kit(tmp_path: Path) -> None:
    """The numbers of the list are not the order of the classes of networks."""
    kit(tmp_path / "ILSVRC2012_devkit_t12" / "data", "2\n1\n3\n3\n")
    put(tmp_path / "val", *(f"ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3)))
    data = open_data(tmp_path)
    assert classes(data) == ["n01", "n03", "n02"]
    assert [data.record(index).label for index in range(3)] == [0, 2, 1]
    assert data.layout == "ImageNet's validation images with the development kit"
    (tmp_path / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").unlink()
    with pytest.raises(DataError, match=r"meta\.mat does not exist\. The list of the development kit has numbers of"):
        open_data(tmp_path)


def write_parquet(path: Path, numbers: range, labels: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in numbers]
    pq.write_table(pa.table({"image": images, "label": labels}), path)


def test_parquet_shards(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "test-00001-of-00002.parquet", range(2, 4), [2, 0])
    write_parquet(tmp_path / "data" / "test-00000-of-00002.parquet", range(2), [0, 1])
    for spec in (tmp_path, tmp_path / "data"):
        data = open_data(spec)
        assert classes(data) == ["0", "1", "2", "0"]
        assert data.record(3).image_id == "test/00003"
        assert data.layout == "2 parquet shards of 'test'"
    write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", range(2), [0, 1])
    with pytest.raises(DataError, match=r"holds the splits test, train: choose one with --split"):
        open_data(tmp_path)
    assert len(open_data(tmp_path, split="test")) == 4
    with pytest.raises(DataError, match=r"holds 1 of the 2 shards of 'train'"):
        open_data(tmp_path, split="train")


def test_texts_as_labels_in_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", range(3), ["nv", "mel", "nv"])
    data = open_data(tmp_path / "a.parquet")
    assert data.class_names == ("mel", "nv")
    assert classes(data) == ["nv", "mel", "nv"]
    table = pa.table({"scan": [png(0)], "kind": pa.array(["nv"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"no image column; .*--file-column NAME"):
        open_data(tmp_path / "b.parquet")
    assert classes(open_data(tmp_path / "b.parquet", file_column="scan", label_column="kind")) == ["nv"]
    with pytest.raises(InputError, match=r"scn.*Did you mean 'scan'"):
        open_data(tmp_path / "b.parquet", file_column="scn")


def save_to_disk(folder: Path, numbers: range) -> None:
    """Write what ``datasets.save_to_disk`` writes."""
    folder.mkdir(parents=True)
    features = {"label": {"names": list(NAMES), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.table({"image": [{"bytes": png(n), "path": None} for n in numbers], "label": [n % 3 for n in numbers]})
    table = table.replace_schema_metadata(metadata)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as to,
    ):
        to.write_table(table)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))


def test_saved_to_disk(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "one", range(4))
    data = open_data(tmp_path / "one")
    assert classes(data) == ["akiec", "mel", "nv", "akiec"]
    assert data.describe() == "a folder of datasets.save_to_disk, 3 classes, 4 images"
    for split in ("train", "test"):
        save_to_disk(tmp_path / "many" / split, range(3))
    (tmp_path / "many" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert open_data(tmp_path / "many").layout == "a folder of datasets.save_to_disk, split test"
    assert open_data(tmp_path / "many", split="train").name == "many-train"
