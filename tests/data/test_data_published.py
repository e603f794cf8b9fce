"""Data sets in more layouts of publishers: ImageNet from Kaggle, metadata of Hugging Face, lists of images by split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.layouts import put
from underfire.data import in_classifier_order, open_data
from underfire.errors import DataError, InputError, UnderfireWarning


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((*lines, "")))


def labels(path: Path, **options: Any) -> dict[str, str]:
    """Return the class name of each image, all of which can be read."""
    data = open_data(path, **options)
    assert not data.load(channels=1).unreadable
    records = [data.record(index) for index in range(len(data))]
    return {record.image_id: data.class_names[record.label] for record in records}


def kaggle(root: Path) -> None:
    put(root, *(f"ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2, 3)))
    put(root, "ILSVRC/Data/CLS-LOC/train/n01440764/a.JPEG", "ILSVRC/Data/CLS-LOC/train/n01443537/b.JPEG")
    put(root, "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG")
    rows = (
        "ILSVRC2012_val_00000001,n02119789 226 132 400 300 ",
        "ILSVRC2012_val_00000003,n01440764 1 2 3 4 n01440764 5 6 7 8 ",
    )
    write(root / "LOC_val_solution.csv", "ImageId,PredictionString", *rows, "ILSVRC2012_val_00000002,n01443537 1 2 3 4")
    write(root / "LOC_train_solution.csv", "ImageId,PredictionString", "a,n01440764 1 2 3 4", "b,n01443537 1 2 3 4")
    write(root / "LOC_sample_submission.csv", "ImageId,PredictionString", "ILSVRC2012_test_00000001,n01440764 1 2 3 4")
    write(root / "LOC_synset_mapping.txt", "n01440764 tench, Tinca tinca", "n01443537 goldfish", "n02119789 kit fox")


@pytest.mark.parametrize("place", ["", "LOC_val_solution.csv", "ILSVRC/Data/CLS-LOC/val"])
def test_imagenet_as_kaggle_gives_it(tmp_path: Path, place: str) -> None:
    kaggle(tmp_path)
    assert labels(tmp_path / place) == {
        "ILSVRC2012_val_00000001.JPEG": "n02119789",
        "ILSVRC2012_val_00000003.JPEG": "n01440764",
        "ILSVRC2012_val_00000002.JPEG": "n01443537",
    }
    data = open_data(tmp_path / place)
    assert data.layout == "ImageNet's validation images with Kaggle's table"
    assert in_classifier_order(data, None, 1000).record(0).label == 278  # kit fox


def test_the_other_images_of_kaggle(tmp_path: Path) -> None:
    kaggle(tmp_path)
    assert labels(tmp_path, split="train") == {"n01440764/a.JPEG": "n01440764", "n01443537/b.JPEG": "n01443537"}
    assert len(open_data(tmp_path, split="validation")) == 3
    flat = tmp_path / "flat"
    put(flat, "ILSVRC2012_val_00000001.JPEG")
    write(flat / "LOC_val_solution.csv", "ImageId,PredictionString", "ILSVRC2012_val_00000001,n02119789 1 2 3 4")
    assert labels(flat) == {"ILSVRC2012_val_00000001.JPEG": "n02119789"}
    write(flat / "LOC_val_solution.csv", "ImageId,PredictionString", "ILSVRC2012_val_00000001,fox")
    with pytest.raises(DataError, match=r"line 2: expected an image and 'n02119789 226"):
        open_data(flat)
    (flat / "ILSVRC2012_val_00000001.JPEG").unlink()
    write(flat / "LOC_val_solution.csv", "ImageId,PredictionString", "ILSVRC2012_val_00000001,n02119789 1 2 3 4")
    with pytest.raises(DataError, match="none of them, such as ILSVRC2012_val_00000001, is in"):
        open_data(flat)


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.parquet"])
def test_imagefolder_with_other_metadata(tmp_path: Path, name: str) -> None:
    """Regression: the folders of the images took the place of these labels, without a word."""
    put(tmp_path, "one/a.png", "two/b.png")
    if name == "metadata.jsonl":
        more = '"boxes": [1, 2], "file_names": ["x.png"]'
        row = '{"file_name": "two/b.png", "label": "mel"}'
        write(tmp_path / name, f'{{"file_name": "one/a.png", "label": "nv", {more}}}', "", row)
    else:
        table = {"file_name": ["one/a.png", "two/b.png"], "label": ["nv", "mel"], "boxes": [[1], [2]]}
        pq.write_table(pa.table(table), tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        assert labels(path) == {"one/a.png": "nv", "two/b.png": "mel"}
        assert open_data(path).layout == f"Hugging Face imagefolder with {name}"


def test_metadata_in_lines_of_json_for_each_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        put(tmp_path, f"{split}/a.png", f"{split}/b.png")
        write(tmp_path / split / "metadata.jsonl", '{"file_name":"a.png","label":1}', '{"file_name":"b.png","label":0}')
    with pytest.raises(DataError, match="holds the splits test, train"):
        open_data(tmp_path)
    assert labels(tmp_path, split="test") == {"a.png": "1", "b.png": "0"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"file_names": ["a.png"], "label": "nv"}', r"no file column; .*found \['label'\]"),
        ('{"file_name": "a.png", ', r"line 1: .*; expected an object of JSON on each line"),
        ("[1]", r"line 1: expected an object of JSON, found .1."),
        ('{"file_name": "a.png", "label": null}', "line 1: the label is empty; leave out"),
    ],
)
def test_metadata_that_cannot_be_used(tmp_path: Path, line: str, problem: str) -> None:
    put(tmp_path, "a.png")
    write(tmp_path / "metadata.jsonl", line)
    with pytest.raises(DataError, match=problem):
        open_data(tmp_path)


def test_cub(tmp_path: Path) -> None:
    """Regression: the numbers of the images were taken for their classes, without a word."""
    put(tmp_path / "images", "001.Crow/a.jpg", "001.Crow/b.jpg", "002.Tit/c.jpg")
    write(tmp_path / "images.txt", "1 001.Crow/a.jpg", "2 001.Crow/b.jpg", "3 002.Tit/c.jpg")
    write(tmp_path / "image_class_labels.txt", "1 1", "2 1", "3 2")
    with pytest.raises(DataError, match=r"numbers 1, 2, 3, ... in front of the images: they count its lines"):
        open_data(tmp_path / "images.txt")
    write(tmp_path / "classes.txt", "1 001.Crow", "2 002.Tit")
    write(tmp_path / "train_test_split.txt", "1 1", "2 0", "3 0")
    assert labels(tmp_path) == {"001.Crow/b.jpg": "001.Crow", "002.Tit/c.jpg": "002.Tit"}
    assert labels(tmp_path, split="train") == {"001.Crow/a.jpg": "001.Crow"}
    assert open_data(tmp_path).layout == "CUB-200-2011, test images"
    with pytest.raises(InputError, match=r"split is 'val'; .* has train, test"):
        open_data(tmp_path, split="val")
    with pytest.raises(DataError, match="one of the lists of CUB-200-2011; give the folder"):
        open_data(tmp_path / "images.txt")
    write(tmp_path / "image_class_labels.txt", "1 7", "2 1", "3 2")
    with pytest.raises(DataError, match=r"has the lists of CUB-200-2011 .* which do not fit"):
        open_data(tmp_path)


def test_pets(tmp_path: Path) -> None:
    """Regression: the masks in annotations were taken for images, and the two folders for the classes."""
    put(tmp_path / "images", "Abyssinian_1.jpg", "beagle_1.jpg", "great_pyrenees_9.jpg")
    put(tmp_path / "annotations" / "trimaps", "Abyssinian_1.png", "beagle_1.png")
    with pytest.raises(DataError, match="names are those of parts of one set"):
        open_data(tmp_path)
    write(tmp_path / "annotations" / "trainval.txt", "Abyssinian_1 1 1 1", "beagle_1 2 2 1")
    write(tmp_path / "annotations" / "test.txt", "#Image", "great_pyrenees_9 3 2 2")
    assert labels(tmp_path) == {"great_pyrenees_9.jpg": "great_pyrenees"}
    assert open_data(tmp_path).class_names == ("Abyssinian", "beagle", "great_pyrenees")
    assert labels(tmp_path, split="trainval") == {"Abyssinian_1.jpg": "Abyssinian", "beagle_1.jpg": "beagle"}


def test_food(tmp_path: Path) -> None:
    put(tmp_path / "images", "pie/1.jpg", "pie/2.jpg", "tart/3.jpg")
    write(tmp_path / "meta" / "classes.txt", "pie", "tart")
    write(tmp_path / "meta" / "train.txt", "pie/1")
    write(tmp_path / "meta" / "test.txt", "pie/2", "tart/3")
    assert labels(tmp_path) == {"pie/2.jpg": "pie", "tart/3.jpg": "tart"}
    assert labels(tmp_path, split="train") == {"pie/1.jpg": "pie"}


def test_tiny_imagenet(tmp_path: Path) -> None:
    """Regression: the folder ``images`` was taken for the one class."""
    put(tmp_path, "val/images/0.JPEG", "val/images/1.JPEG", "train/n04067472/images/2.JPEG", "test/images/3.JPEG")
    write(tmp_path / "val" / "val_annotations.txt", "0.JPEG\tn03444034\t0\t32\t44\t62", "1.JPEG\tn04067472\t5\t5\t7\t9")
    expected = {"images/0.JPEG": "n03444034", "images/1.JPEG": "n04067472"}
    assert labels(tmp_path / "val") == labels(tmp_path, split="val") == expected
    with pytest.raises(DataError, match="holds images, whose names"):
        open_data(tmp_path / "test")


def test_a_table_among_the_images_of_gtsrb(tmp_path: Path) -> None:
    """Regression: ``Final_Training`` and ``Final_Test`` were taken for classes."""
    put(tmp_path, "Final_Test/Images/0.ppm", "Final_Training/Images/00000/0.ppm", "Final_Training/Images/00001/0.ppm")
    write(tmp_path / "Final_Test" / "Images" / "GT-final_test.csv", "Filename;Width;ClassId", "0.ppm;53;1")
    with pytest.raises(DataError, match=r"holds the splits Final_Test, Final_Training, and not classes"):
        open_data(tmp_path)
    assert labels(tmp_path, split="test") == {"Images/0.ppm": "1"}


def test_findings_of_chest_x_rays(tmp_path: Path) -> None:
    put(tmp_path, "images_001/images/1.png", "images_001/images/2.png", "images_002/images/3.png")
    rows = ("1.png,Mass,0", "2.png,Mass|Edema,1", "3.png,Edema,0")
    write(tmp_path / "Data_Entry_2017.csv", "Image Index,Finding Labels,Follow-up #", *rows)
    write(tmp_path / "test_list.txt", "3.png")
    for options in ({}, {"file_column": "Image Index", "label_column": "Finding Labels"}):
        with pytest.warns(UnderfireWarning, match=r"1 of the 3 images of .* are left out: each has several classes"):
            assert labels(tmp_path, **options) == {
                "images_001/images/1.png": "Mass",
                "images_002/images/3.png": "Edema",
            }


def test_chexpert(tmp_path: Path) -> None:
    """Regression: patients were taken for classes."""
    root = tmp_path / "CheXpert-v1.0-small"
    names = [f"valid/patient{number}/study1/view1_frontal.jpg" for number in (1, 2)]
    put(root, *names)
    rows = (f"{root.name}/{names[0]},Male,1.0,0.0", f"{root.name}/{names[1]},Female,0.0,1.0")
    write(root / "valid.csv", "Path,Sex,No Finding,Edema", *rows)
    for path in (root, root / "valid.csv"):
        assert labels(path, label_column="Edema") == {names[0]: "0", names[1]: "1"}
    with (
        pytest.warns(UnderfireWarning, match=r"valid\.csv names images, but has no column of classes"),
        pytest.raises(DataError, match="holds the splits valid"),
    ):
        open_data(root)
    with pytest.raises(DataError, match="patient1, patient2, whose names are those of parts"):
        open_data(root / "valid")
