"""Images named by a CSV file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import underfire as uf
from underfire.data import CsvData
from underfire.errors import DataError, UnreadableImageError

WriteImage = Callable[..., Path]
Table = Callable[[str], Path]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    def write(text: str) -> Path:
        path = tmp_path / "val.csv"
        path.write_bytes(text.encode())
        return path

    return write


def content(data: CsvData) -> list[tuple[str, int]]:
    return [(data.record(index).image_id, data.record(index).label) for index in range(len(data))]


def test_integers_are_the_labels(table: Table, write_image: WriteImage) -> None:
    for level in (1, 2, 3):
        write_image(f"{level}.png", level)
    data = CsvData(table("file,label\n3.png,2\n1.png,0\n2.png,4\n"))
    assert content(data) == [("3.png", 2), ("1.png", 0), ("2.png", 4)]
    assert data.class_names == ("0", "1", "2", "3", "4")
    assert data.name == "val"
    batch = data.load(channels=1)
    assert batch.images[:, 0, 0, 0].mul(255).round().tolist() == [3, 1, 2]
    assert batch.labels.tolist() == [2, 0, 4]


def test_names_are_numbered_in_sorted_order(table: Table) -> None:
    data = CsvData(table("file,label\na.png,dog\nb.png,cat\nc.png,dog\n"))
    assert data.class_names == ("cat", "dog")
    assert content(data) == [("a.png", 1), ("b.png", 0), ("c.png", 1)]


@pytest.mark.parametrize("file", ["file", "filename", "path", "image", "Image", " FILE "])
@pytest.mark.parametrize("label", ["label", "class", "target", "Target"])
def test_columns_by_their_names_in_any_place(table: Table, file: str, label: str) -> None:
    data = CsvData(table(f"width,{label},note,{file}\n9,1,x,a.png\n9,0,,b.png\n"))
    assert content(data) == [("a.png", 1), ("b.png", 0)]


def test_files_of_spreadsheets(table: Table) -> None:
    data = CsvData(table('\ufefffile,label\r\n"a, b.png", cat \r\n\r\nd.png,"dog"\r\n,\r\n'))
    assert content(data) == [("a, b.png", 0), ("d.png", 1)]


def test_subfolders_and_detours_have_one_id(table: Table, tmp_path: Path, write_image: WriteImage) -> None:
    write_image("sub/1.png", 7)
    write_image("sub/2.png", 8)
    data = CsvData(table(f"file,label\n./sub/../sub/1.png,0\n{tmp_path / 'sub' / '2.png'},1\n"))
    assert content(data) == [("sub/1.png", 0), ("sub/2.png", 1)]
    assert data.load(channels=1).images[:, 0, 0, 0].mul(255).round().tolist() == [7, 8]


@pytest.mark.parametrize("file", ["../a.png", "sub/../../a.png", "/etc/a.png", ".", "..", "sub/.."])
def test_files_outside_of_the_folder_are_refused(table: Table, file: str) -> None:
    with pytest.raises(DataError, match=r"val\.csv, line 3: .* is not inside the CSV's folder"):
        CsvData(table(f"file,label\nok.png,0\n{file},0\n"))


def test_a_sibling_with_the_same_beginning_is_outside(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("set-b/1.png")
    (tmp_path / "set").mkdir()
    path = tmp_path / "set" / "val.csv"
    path.write_text("file,label\n../set-b/1.png,0\n")
    with pytest.raises(DataError, match=r"line 2: .* is not inside"):
        CsvData(path)


def test_a_missing_file_shows_on_reading_only(table: Table, write_image: WriteImage, tmp_path: Path) -> None:
    write_image("b.png", 2)
    data = CsvData(table("file,label\na.png,0\nb.png,1\n"))
    with pytest.raises(UnreadableImageError, match=r"a\.png does not exist"):
        data.read(0)
    batch = data.load(channels=1)
    assert batch.ids == ["b.png"]
    assert batch.labels.tolist() == [1]
    assert [path for path, _ in batch.unreadable] == [str(tmp_path / "a.png")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.png\n", "line 2: 1 fields; expected 2"),
        ("a.png,0\nb.png,0,9\n", "line 3: 3 fields; expected 2"),
        ('a.png,0\n\n"b\nc.png",0,9\n', "line 5: 3 fields"),
        ("a.png,0\n,1\n", "line 3: the file name is empty"),
        ("a.png,0\nb.png,\n", "line 3: the label is empty"),
        ("a.png,0\nb.png,-1\n", "line 3: label -1 is negative"),
        ("a.png,0\nb.png,1.5\n", "line 3: label '1.5' is a number, but not an integer"),
        ("a.png,0\nb.png,1652345678\n", "line 3: label 1652345678 is too large for a class number"),
        ("a.png,0\nb.png," + "9" * 5000 + "\n", "line 3: label '999"),
        ("a.png,0\nb.png,cat\n", "on line 2 is the number '0', but the label on line 3 is the name 'cat'"),
        ("a.png,0\nb.png,1\n./a.png,1\n", "lines 2 and 4 both name 'a.png'"),
        ('a.png,0\n"b.png,1\n', "line 3: unexpected end of data"),
        ("", "no rows"),
    ],
)
def test_malformed_rows_name_their_line(table: Table, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"val\.csv.*{message}"):
        CsvData(table("file,label\n" + rows))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,cls", "no label column; expected one of label, class, target, .*, found .*'cls'.*--label-column NAME"),
        ("name,label", "no file column; expected one of file, filename, path, image"),
        ("file|label", "no file column; .* separated by commas"),
        ("file,label,label", "2 columns are called 'label'"),
        ("", "no file column"),
    ],
)
def test_headers_without_the_columns(table: Table, header: str, message: str) -> None:
    rows = (
        "" if not header else "a.png\n" if "|" in header else "a.png,0\n" if header.count(",") == 1 else "a.png,0,0\n"
    )
    with pytest.raises(DataError, match=f"line 1: {message}"):
        CsvData(table(header + "\n" + rows))


def test_files_that_are_not_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        CsvData(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("file,label\né.png,0\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"not UTF-8.*cp1252: save it as UTF-8"):
        CsvData(tmp_path / "latin.csv")
    with pytest.raises(DataError, match="cannot be read"):
        CsvData(tmp_path)


@pytest.mark.parametrize("name", ["metadata.csv", "labels.tsv"])
def test_labels_in_another_encoding_do_not_give_way_to_folders(tmp_path: Path, name: str) -> None:
    """Regression: the classes were the folders, without a word."""
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "1.png")
    mark = "\t" if name.endswith(".tsv") else ","
    rows = [["file_name", "label"], ["left/1.png", "Möwe"], ["right/1.png", "Bär"]]
    (tmp_path / name).write_bytes("\n".join(map(mark.join, rows)).encode("latin-1"))
    with pytest.raises(DataError, match=rf"{name} is not UTF-8.*save it as UTF-8"):
        uf.data.open_data(tmp_path)


def test_another_table_in_another_encoding_is_no_reason_to_refuse_folders(tmp_path: Path) -> None:
    for folder in ("left", "right"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / "1.png")
    (tmp_path / "names.csv").write_bytes("class,german\nleft,Möwe\n".encode("latin-1"))
    assert uf.data.open_data(tmp_path).class_names == ("left", "right")


def test_the_fingerprint_tells_labels_contents_and_missing_files(table: Table, write_image: WriteImage) -> None:
    image = write_image("a.png", 1)
    first = CsvData(table("file,label\na.png,0\nb.png,1\n")).fingerprint()
    assert CsvData(table("path,target\n./a.png,0\nb.png,1\n")).fingerprint() == first
    relabelled = CsvData(table("file,label\na.png,1\nb.png,1\n")).fingerprint()
    renamed = CsvData(table("file,label\na.png,cat\nb.png,dog\n")).fingerprint()
    write_image("a.png", 2)
    changed = CsvData(table("file,label\na.png,0\nb.png,1\n")).fingerprint()
    image.unlink()
    missing = CsvData(table("file,label\na.png,0\nb.png,1\n")).fingerprint()
    assert len({first, relabelled, renamed, changed, missing}) == 5
