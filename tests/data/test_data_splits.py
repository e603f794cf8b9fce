"""Folders whose subfolders are no classes: splits, groups, folders of systems, empty folders, pipes."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from tests.data.layouts import put
from underfire.data import FolderData, ImageData, in_classifier_order, open_data
from underfire.errors import DataError, InputError, UnderfireWarning

SPLITS = ("train/mel/1.png", "train/nv/2.png", "val/mel/3.png", "val/nv/4.png")


def content(data: ImageData) -> list[tuple[str, int]]:
    return [(data.record(index).image_id, data.record(index).label) for index in range(len(data))]


def test_splits_are_not_classes(tmp_path: Path) -> None:
    put(tmp_path, *SPLITS)
    with pytest.raises(DataError, match=r"holds the splits train, val, and not classes: .*/train or .*/val.*--split"):
        open_data(tmp_path)
    for data in (
        open_data(tmp_path / "val"),
        open_data(tmp_path, split="val"),
        open_data(tmp_path, split="validation"),
    ):
        assert content(data) == [("mel/3.png", 0), ("nv/4.png", 1)]
    with pytest.raises(InputError, match=r"split is 'test'; .* has train, val"):
        open_data(tmp_path, split="test")


def test_splits_that_are_meant_as_classes_or_joined(tmp_path: Path) -> None:
    put(tmp_path, *SPLITS)
    assert open_data(tmp_path, class_level=1).class_names == ("train", "val")
    joined = open_data(tmp_path, class_level=2)
    assert joined.class_names == ("mel", "nv")
    assert content(joined) == [("train/mel/1.png", 0), ("val/mel/3.png", 0), ("train/nv/2.png", 1), ("val/nv/4.png", 1)]
    assert joined.layout == "a folder per class, 2 folders below the root"
    with pytest.raises(InputError, match=r"class_level is 3, but .*1.png lies 2 folders below .*; expected at most 2"):
        open_data(tmp_path, class_level=3)


@pytest.mark.parametrize("names", [("train/1.png", "test/2.png"), ("Training/mel/1.png", "Training/nv/2.png")])
def test_splits_without_classes_and_one_split_alone(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, *names)
    with pytest.raises(DataError, match=r"holds the splits"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("clinic-a/mel/1.png", "clinic-a/nv/2.png", "clinic-b/nv/3.png"),
        ("living/cat/1.png", "living/dog/2.png", "vehicle/bus/3.png"),
        ("images/cat/1.png", "images/dog/2.png"),
    ],
)
def test_images_that_lie_deeper_are_ambiguous(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, *names)
    with pytest.raises(DataError, match=r"deeper than one folder, .*--class-level 1 .*--class-level 2"):
        open_data(tmp_path)
    assert open_data(tmp_path, class_level=1).class_names == tuple(dict.fromkeys(name.split("/")[0] for name in names))


def test_one_folder_of_images_in_each_class(tmp_path: Path) -> None:
    """As in the training images of Tiny ImageNet; and a class called "train" is none beside a bus."""
    put(tmp_path, "n01/images/1.png", "n02/images/2.png")
    assert FolderData(tmp_path).class_names == ("n01", "n02")
    put(tmp_path / "more", "bus/1.png", "train/2.png")
    assert FolderData(tmp_path / "more").class_names == ("bus", "train")


def test_folders_of_systems_are_passed_over(tmp_path: Path) -> None:
    names = ("__MACOSX/mel/x.png", "@eaDir/x.png", "lost+found/x.png", ".ipynb_checkpoints/x.png", "nv/@eaDir/x.png")
    put(tmp_path, "mel/1.png", "nv/2.png", *names)
    assert content(open_data(tmp_path)) == [("mel/1.png", 0), ("nv/2.png", 1)]


def test_empty_folders_take_no_number_if_they_name_no_class(tmp_path: Path) -> None:
    put(tmp_path, "mel/1.png", "nv/2.png")
    (tmp_path / "bcc").mkdir()
    (tmp_path / "logs").mkdir()
    with pytest.warns(UnderfireWarning, match=r"2 of the 4 subfolders .* hold no images: bcc, logs\."):
        data = FolderData(tmp_path)
    assert content(in_classifier_order(data, ["nv", "bcc", "mel"])) == [("mel/1.png", 2), ("nv/2.png", 0)]
    assert content(in_classifier_order(data, None, 2)) == [("mel/1.png", 0), ("nv/2.png", 1)]
    assert content(in_classifier_order(data, None, 4)) == [("mel/1.png", 2), ("nv/2.png", 3)]


def test_names_match_in_any_form_of_unicode(tmp_path: Path) -> None:
    names = ["épine", "mélanome"]
    put(tmp_path, *(unicodedata.normalize("NFD", f"{name}/1.png") for name in names))
    data = in_classifier_order(open_data(tmp_path), [unicodedata.normalize("NFC", name) for name in names[::-1]])
    assert {data.record(index).image_id[0]: data.record(index).label for index in range(2)} == {"e": 1, "m": 0}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_pipes_are_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "mel/1.png")
    os.mkfifo(tmp_path / "mel" / "2.png")
    os.mkfifo(tmp_path / "labels.csv")
    data = open_data(tmp_path)
    assert content(data) == [("mel/1.png", 0)]
    data.fingerprint()
    with pytest.raises(DataError, match=r"is a pipe"):
        open_data(tmp_path / "labels.csv")
    (tmp_path / "named.csv").write_text("file,label\nmel/1.png,0\nmel/2.png,0\n")
    named = open_data(tmp_path / "named.csv")
    assert "is a pipe" in named.load().unreadable[0][1]
    named.fingerprint()
