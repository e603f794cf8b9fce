"""Tables as programs and publishers write them: other marks, other paths, other columns."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from tests.data.layouts import level, put
from underfire.data import ImageData, open_data
from underfire.errors import DataError, InputError, UnderfireWarning


def content(data: ImageData) -> list[tuple[str, str]]:
    """The id and the class name of each image, after a look at the pixels: image i has level i."""
    batch = data.load(channels=1)
    assert not batch.unreadable
    assert batch.images[:, 0, 0, 0].mul(255).round().tolist() == [level(number) for number in range(len(data))]
    return [(record.image_id, data.class_names[record.label]) for record in batch.records]


EXPECTED = [("img/a.jpg", "nv"), ("img/b.jpg", "mel")]


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile;label\r\nimg/a.jpg;nv\r\nimg/b.jpg;mel\r\n",
        "file\tlabel\nimg/a.jpg\tnv\nimg/b.jpg\tmel\n",
        "file,label\nimg\\a.jpg,nv\nimg\\b.jpg,mel\n",
        "file,label\na.jpg,nv\nb.jpg,mel\n",
        "ImageId,Class\na,nv\nb,mel\n",
        "image_path;category\nimg/a;nv\nimg/b;mel\n",
        "img/a.jpg,nv\nimg/b.jpg,mel\n",
        "image,mel,nv\na,0.0,1.0\nb,1.0,0.0\n",
        ",path,mel,nv\n0,img/a.jpg,0,1\n1,img/b.jpg,1,0\n",
        "sep=;\r\nfile;label\r\nimg/a.jpg;nv\r\nimg/b.jpg;mel\r\n",
        "id_code,diagnosis\na,nv\nb,mel\n",
    ],
    ids=["excel", "tabs", "windows", "bare", "kaggle", "no suffix", "no header", "one-hot", "pandas", "sep=", "aptos"],
)
def test_one_table_in_many_forms(tmp_path: Path, text: str) -> None:
    put(tmp_path, "img/a.jpg", "img/b.jpg")
    (tmp_path / "labels.csv").write_bytes(text.encode())
    for spec in (tmp_path, tmp_path / "labels.csv"):
        assert content(open_data(spec)) == EXPECTED


def test_a_list_of_files_as_caffe_writes_it(tmp_path: Path) -> None:
    put(tmp_path, "one two.jpg", "b.jpg")
    (tmp_path / "val.txt").write_text("one two.jpg 1\nb.jpg 0\n")
    (tmp_path / "readme.txt").write_text("Some words.\nMore words\n")
    data = open_data(tmp_path)
    assert content(data) == [("one two.jpg", "1"), ("b.jpg", "0")]
    assert data.describe() == "a list of files and labels, 2 classes, 2 images"


def test_absolute_paths_out_of_the_folder_are_taken_and_said(tmp_path: Path) -> None:
    put(tmp_path / "store", "a.jpg", "b.jpg")
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables" / "labels.csv"
    table.write_text(f"path,label\n{tmp_path}/store/a.jpg,nv\n{tmp_path}/store/b.jpg,mel\n")
    with pytest.warns(UnderfireWarning, match=r"2 of the 2 images of .* lie outside of its folder, such as .*a.jpg"):
        data = open_data(table)
    assert content(data) == [("a.jpg", "nv"), ("b.jpg", "mel")]


def test_paths_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "data/store/a.jpg", "data/store/b.jpg")
    (tmp_path / "data" / "labels.csv").write_text("path,label\ndata/store/a.jpg,nv\ndata/store/b.jpg,mel\n")
    monkeypatch.chdir(tmp_path)
    assert content(open_data("data/labels.csv")) == [("store/a.jpg", "nv"), ("store/b.jpg", "mel")]


@pytest.mark.parametrize("root", ["/home/me/set", "C:\\Users\\me\\set"])
def test_absolute_paths_of_another_machine(tmp_path: Path, root: str) -> None:
    put(tmp_path, "val/1.jpg", "val/2.jpg")
    mark = "\\" if "\\" in root else "/"
    rows = [mark.join([root, "val", f"{number}.jpg,nv\n"]) for number in (1, 2)]
    (tmp_path / "labels.csv").write_text("".join(["path,label\n", *rows]))
    with pytest.warns(UnderfireWarning, match=r"absolute paths that do not exist here"):
        data = open_data(tmp_path)
    assert content(data) == [("val/1.jpg", "nv"), ("val/2.jpg", "nv")]


def test_a_name_alone_is_not_enough_in_another_folder(tmp_path: Path) -> None:
    put(tmp_path, "val/1.jpg")
    (tmp_path / "labels.csv").write_text("path,label\n/home/me/train/1.jpg,nv\n")
    with pytest.raises(DataError, match=r"line 2: '/home/me/train/1.jpg' is not inside the CSV's folder"):
        open_data(tmp_path)
    (tmp_path / "labels.csv").write_text("path,label\ntrain/1.jpg,nv\n")
    assert "train/1.jpg does not exist" in open_data(tmp_path).load().unreadable[0][1]


def test_names_that_several_files_have_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "train/1.jpg", "val/1.jpg")
    (tmp_path / "labels.csv").write_text("image,label\n1,nv\n")
    with pytest.raises(DataError, match=r"'1' may be any of 2 files below .*: 'train/1.jpg', 'val/1.jpg'"):
        open_data(tmp_path / "labels.csv")


def test_names_in_another_form_of_unicode(tmp_path: Path) -> None:
    put(tmp_path, unicodedata.normalize("NFD", "épine.jpg"))
    (tmp_path / "labels.csv").write_text("image,label\népine.jpg,nv\n")
    assert open_data(tmp_path).load(channels=1).labels.tolist() == [0]


def test_columns_of_other_names(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "labels.csv").write_text("scan,finding,age\na,nv,3\nb,mel,4\n")
    with pytest.raises(DataError, match=r"no file column; .* found .'scan', 'finding', 'age'.. .*--file-column NAME"):
        open_data(tmp_path / "labels.csv")
    data = open_data(tmp_path, file_column="scan", label_column="finding")
    assert content(data) == [("a.jpg", "nv"), ("b.jpg", "mel")]
    with pytest.raises(InputError, match=r"label_column: .*'findig'.* Did you mean 'finding'"):
        open_data(tmp_path / "labels.csv", file_column="scan", label_column="findig")


def test_the_rows_of_one_split(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "labels.csv").write_text("image,label,split\na,nv,test\nb,mel,train\n")
    assert content(open_data(tmp_path, split="test")) == [("a.jpg", "nv")]
    with pytest.raises(InputError, match=r"split is 'val'; .* has test, train"):
        open_data(tmp_path, split="val")


@pytest.mark.parametrize("row", ["a,1,1", "a,0,0", "a,0.7,0.3"])
def test_rows_of_several_classes_are_refused(tmp_path: Path, row: str) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    filler = "".join(f"b{number},1,0\n" for number in range(100))  # the columns are judged by the first 100 rows
    (tmp_path / "labels.csv").write_text(f"image,mel,nv\n{filler}{row}\n")
    with pytest.raises(DataError, match=r"line 102: expected a 1 for one class"):
        open_data(tmp_path / "labels.csv")


def test_options_without_a_meaning_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "mel/a.jpg", "nv/b.jpg")
    with pytest.raises(InputError, match=r"file_column is 'scan', but .* is a folder per class"):
        open_data(tmp_path, file_column="scan")
    with pytest.raises(InputError, match=r"white is given, but digits is a built-in data set"):
        open_data("digits", white=4095)


def test_utf_16_and_whole_numbers_with_a_point(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    for encoding in ("utf-16", "utf-8"):
        (tmp_path / "labels.csv").write_bytes("file\tlabel\na.jpg\t1.0\nb.jpg\t0.0\n".encode(encoding))
        assert content(open_data(tmp_path)) == [("a.jpg", "1"), ("b.jpg", "0")]


def test_lines_are_counted_from_the_first_one(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("sep=;\nfile;label\na.jpg;\n")
    with pytest.raises(DataError, match="line 3: the label is empty"):
        open_data(tmp_path / "labels.csv")


def test_names_in_other_letters_are_found_and_said(tmp_path: Path) -> None:
    put(tmp_path, "img/a.jpg", "img/b.jpg")
    (tmp_path / "labels.csv").write_text("file,label\nimg/A.JPG,nv\nIMG/B,mel\n")
    with pytest.warns(UnderfireWarning, match="in other capital or small letters"):
        assert content(open_data(tmp_path)) == EXPECTED
    put(tmp_path, "img/a.jpg", "img/b.jpg", "img/B.jpg")
    (tmp_path / "labels.csv").write_text("file,label\nimg/B.jpg,nv\n")
    assert open_data(tmp_path).record(0).image_id == "img/B.jpg"
    (tmp_path / "labels.csv").write_text("file,label\nimg/B.JPG,nv\n")
    with pytest.raises(DataError, match="may be any of 2 files"):
        open_data(tmp_path)
