"""Tables whose images are not where the table is, and folders and columns that mean something else than they seem."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.layouts import put
from tests.data.test_data_published import labels, write
from underfire.data import open_data
from underfire.errors import DataError, InputError, UnderfireWarning


def test_a_table_in_a_folder_beside_the_images(tmp_path: Path) -> None:
    put(
        tmp_path,
        "ISIC2018_Test_Input/ISIC_0.JPG",
        "ISIC2018_Test_Input/ISIC_1.jpg",
        "ISIC2018_Training_Input/ISIC_0.jpg",
    )
    table = tmp_path / "ISIC2018_Test_GroundTruth" / "ISIC2018_Test_GroundTruth.csv"
    write(table, "image,MEL,NV", "ISIC_0,0.0,1.0", "ISIC_1,1.0,0.0")
    for path in (table, table.parent):
        with pytest.warns(
            UnderfireWarning, match=r"are taken from .*ISIC2018_Test_Input, because there are none beside"
        ):
            assert labels(path) == {"ISIC_0.JPG": "NV", "ISIC_1.jpg": "MEL"}


def test_images_beside_a_table_that_may_be_others(tmp_path: Path) -> None:
    table = tmp_path / "tables" / "labels.csv"
    write(table, "image,label", "0,nv", "1,mel")
    put(tmp_path, "one/0.png", "one/1.png", "two/0.png")
    with pytest.warns(UnderfireWarning, match="are taken from .*one"):
        assert labels(table) == {"0.png": "nv", "1.png": "mel"}
    put(tmp_path, "two/0.png", "two/1.png")
    assert len(open_data(table).load(channels=1).unreadable) == 2
    put(tmp_path / "tables", "0.png")
    (tmp_path / "two" / "1.png").unlink()
    assert len(open_data(table).load(channels=1).unreadable) == 1


def test_tables_of_isic_2019(tmp_path: Path) -> None:
    put(tmp_path, "ISIC_2019_Training_Input/ISIC_0.jpg", "ISIC_2019_Test_Input/ISIC_8.jpg")
    table = tmp_path / "ISIC_2019_Training_GroundTruth.csv"
    write(table, "image,MEL,NV,UNK", "ISIC_0,0.0,1.0,0.0")
    more = "image,MEL,NV,UNK,score_weight,validation_weight"
    write(tmp_path / "ISIC_2019_Test_GroundTruth.csv", more, "ISIC_8,0.0,0.0,1.0,1.0,0.0")
    write(tmp_path / "ISIC_2019_Training_Metadata.csv", "image,age_approx,sex", "ISIC_0,55,female")
    with pytest.raises(DataError, match=r"holds several CSV files .*; give the path of one, or --split test"):
        open_data(tmp_path)
    assert labels(table) == labels(tmp_path, split="train") == {"ISIC_2019_Training_Input/ISIC_0.jpg": "NV"}
    assert labels(tmp_path, split="test") == {"ISIC_2019_Test_Input/ISIC_8.jpg": "UNK"}
    assert open_data(tmp_path, split="test").layout == "ISIC 2019 ground truth"


def test_a_split_by_the_name_of_the_one_table(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    write(tmp_path / "val.txt", "a.png 1", "b.png 0")
    assert len(open_data(tmp_path, split="val")) == 2
    with pytest.raises(InputError, match="split is 'test'"):
        open_data(tmp_path, split="test")
    (tmp_path / "val.txt").unlink()
    write(tmp_path / "train.csv", "file,label,split", "a.png,1,train", "b.png,0,val")
    assert labels(tmp_path, split="train") == {"a.png": "1"}
    assert labels(tmp_path, split="val") == {"b.png": "0"}


def test_an_example_of_an_answer_has_no_labels(tmp_path: Path) -> None:
    put(tmp_path, "train/a.tif", "test/b.tif")
    write(tmp_path / "sample_submission.csv", "id,label", "b,0")
    with pytest.raises(DataError, match="holds the splits test, train"):
        open_data(tmp_path)
    write(tmp_path / "train_labels.csv", "id,label", "a,1")
    assert labels(tmp_path) == {"train/a.tif": "1"}


def test_a_table_without_known_classes_beside_folders(tmp_path: Path) -> None:
    put(tmp_path, "001.Crow/a.jpg", "002.Tit/b.jpg")
    write(tmp_path / "metadata.csv", "img_id,img_filename,y,split", "1,001.Crow/a.jpg,1,0", "2,002.Tit/b.jpg,0,1")
    with pytest.warns(
        UnderfireWarning, match=r"metadata\.csv names images, but has no column of classes.*--label-column"
    ):
        assert labels(tmp_path) == {"001.Crow/a.jpg": "001.Crow", "002.Tit/b.jpg": "002.Tit"}
    assert labels(tmp_path, label_column="y") == {"001.Crow/a.jpg": "1", "002.Tit/b.jpg": "0"}
    with pytest.raises(InputError, match=r"label_column: .*'z'"):
        open_data(tmp_path, label_column="z")
    assert len(open_data(tmp_path, class_level=1)) == 2


@pytest.mark.parametrize(
    ("names", "choices"),
    [
        (
            (
                "breast/benign/SOB/adenosis/40X/0.png",
                "breast/malignant/SOB/ductal/40X/1.png",
                "breast/benign/SOB/x/100X/2.png",
            ),
            {2: ("benign", "malignant"), 4: ("adenosis", "ductal", "x")},
        ),
        (("10253/0/a.png", "10253/1/b.png", "10254/0/c.png"), {1: ("10253", "10254"), 2: ("0", "1")}),
        (("cup/p1/0.png", "cup/p2/0.png", "duck/p3/0.png"), {1: ("cup", "duck"), 2: ("p1", "p2", "p3")}),
        (("images/pie/0.png", "images/tart/1.png"), {1: ("images",), 2: ("pie", "tart")}),
    ],
    ids=["breakhis", "patients first", "objects in classes", "all in images"],
)
def test_the_refusal_of_deep_folders_names_each_choice(
    tmp_path: Path, names: tuple[str, ...], choices: dict[int, tuple[str, ...]]
) -> None:
    put(tmp_path, *names)
    with pytest.raises(DataError) as raised:
        open_data(tmp_path)
    for level, classes in choices.items():
        assert f"--class-level {level} for {', '.join(map(repr, classes))}" in str(raised.value)
        assert open_data(tmp_path, class_level=level).class_names == classes


@pytest.mark.parametrize(
    "names", [("jpg/0.jpg", "jpg/1.jpg"), ("patient_004_node_4/0.png", "patient_010_node_4/1.png"), ("Images/0.png",)]
)
def test_folders_that_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, *names)
    with pytest.raises(DataError, match=r"names are those of parts of one set of images.*--class-level 1"):
        open_data(tmp_path)
    assert len(open_data(tmp_path, class_level=1)) == len(names)


def test_names_of_splits_with_more_words(tmp_path: Path) -> None:
    put(tmp_path / "seg", "seg_train/forest/0.png", "seg_test/forest/1.png")
    with pytest.raises(DataError, match="holds the splits seg_test, seg_train"):
        open_data(tmp_path / "seg")
    assert labels(tmp_path / "seg", split="test") == {"forest/1.png": "forest"}
    put(tmp_path / "medical", "blood test/0.png", "eye test/1.png", "train/2.png")
    assert open_data(tmp_path / "medical").class_names == ("blood test", "eye test", "train")
    put(tmp_path / "numbers", "train1/0.png", "train2/1.png")
    assert open_data(tmp_path / "numbers").class_names == ("train1", "train2")


def test_letters_in_absolute_paths_of_another_machine(tmp_path: Path) -> None:
    put(tmp_path, "Val/a.PNG", "Val/b.png")
    write(tmp_path / "labels.csv", "path,label", "/home/me/val/A.png,nv", "/home/me/Val/b.png,mel")
    with pytest.warns(UnderfireWarning) as warned:
        assert labels(tmp_path) == {"Val/a.PNG": "nv", "Val/b.png": "mel"}
    assert {"absolute paths" in str(each.message) for each in warned} == {True, False}


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    put(tmp_path, "a.PNG", "A.png", "b.png")
    for rows in (("a.PNG,nv", "A.png,mel"), ("a,nv", "A,mel")):
        write(tmp_path / "labels.csv", "file,label", *rows)
        assert labels(tmp_path) == {"a.PNG": "nv", "A.png": "mel"}
    write(tmp_path / "labels.csv", "file,label", "a.png,nv")
    with pytest.raises(DataError, match=r"'a.png' may be any of 2 files below .*: 'A.png', 'a.PNG'"):
        open_data(tmp_path)
