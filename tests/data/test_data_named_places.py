"""Names in tables that could stand for several files, tables that cannot be read, and rows of several classes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from underfire.data import open_data
from underfire.errors import DataError


def image(path: Path, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey).save(path)
    return path


def test_an_absolute_path_that_exists_is_taken(tmp_path: Path) -> None:
    """Regression: a file of the same name beside the table took its place, without a word."""
    theirs = [image(tmp_path / "theirs" / "images" / f"{number}.png", number) for number in (1, 2)]
    mine = tmp_path / "mine" / "images"
    for path in theirs:
        image(mine / path.name)
    (mine / "labels.csv").write_text("file,label\n" + "".join(f"{path},{path.stem}\n" for path in theirs))
    with pytest.warns(UserWarning, match="2 of the 2 images .* lie outside of its folder"):
        data = open_data(mine)
    assert [data.record(place).path for place in range(2)] == [str(path) for path in theirs]


@pytest.mark.parametrize(("name", "found"), [("set/1.png", None), ("a/set/1.png", "a/set/1.png")])
def test_a_name_that_stands_for_two_files_is_refused(tmp_path: Path, name: str, found: str | None) -> None:
    folder = tmp_path / "set"
    for path in ("1.png", "a/set/1.png", "2.png"):
        image(folder / path)
    (folder / "labels.csv").write_text(f"file,label\n{name},x\n2.png,y\n")
    if found is None:
        with pytest.raises(DataError, match=r"labels.csv, line 2: 'set/1.png' may be .*1\.png or .*a/set/1\.png"):
            open_data(folder)
    else:
        assert open_data(folder).record(0).path == str(folder / found)


def test_paths_from_further_up_are_taken(tmp_path: Path) -> None:
    """Regression: paths from the root of a project were read as missing."""
    folder = tmp_path / "project" / "set" / "train"
    for number in (1, 2):
        image(folder / f"{number}.png", number)
    for above in ("train", "set/train", "project/set/train"):
        (folder / "labels.csv").write_text(f"file,label\n{above}/1.png,x\n{above}/2.png,y\n")
        data = open_data(folder)
        assert [data.record(place).path for place in range(2)] == [str(folder / "1.png"), str(folder / "2.png")]
    (folder / "labels.csv").write_text("file,label\nproject/train/1.png,x\n2.png,y\n")  # another folder
    assert not (Path(open_data(folder).record(0).path)).exists()


def test_paths_that_follow_two_ends_of_the_folders_path_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set" / "set"
    image(folder / "1.png")
    image(folder / "set" / "1.png", 1)
    (folder / "labels.csv").write_text("file,label\nset/set/1.png,x\n")
    with pytest.raises(DataError, match=r"'set/set/1\.png' may be .*set/set/set/1\.png or .*set/set/1\.png"):
        open_data(folder)


@pytest.mark.parametrize(
    "content",
    [b'{"file_name": "a.png", "label": "x"},\n{"file_name": "b.png", "label": "y"},\n', b"[1, 2]\n", b"\xff\xfe{\x00"],
    ids=["commas", "a list", "UTF-16"],
)
def test_metadata_that_cannot_be_read_does_not_give_way_to_folders(tmp_path: Path, content: bytes) -> None:
    image(tmp_path / "one" / "a.png")
    image(tmp_path / "two" / "b.png")
    (tmp_path / "metadata.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"metadata\.jsonl"):
        open_data(tmp_path)


@pytest.mark.parametrize("split", [None, "test"])
@pytest.mark.parametrize("column", ["Finding Labels", "label"])
def test_rows_of_several_classes_are_no_class(tmp_path: Path, column: str, split: str | None) -> None:
    rows = [("a", "Edema", "train"), ("b", "Mass | Edema", "test"), ("c", "Effusion", "test"), ("d", "Clear", "test")]
    rows += [("e", "Fibrosis|Hernia", "test")] if column == "Finding Labels" else []
    for name, _, _ in rows:
        image(tmp_path / f"{name}.png")
    lines = "".join(f"{name}.png,{label},{part}\n" for name, label, part in rows)
    (tmp_path / "labels.csv").write_text(f"file,{column},split\n{lines}")
    with pytest.warns(UserWarning, match="are left out: each has several classes"):
        data = open_data(tmp_path, split=split)
    assert set(data.class_names or ()) == {"Effusion", "Clear"} | (set() if split else {"Edema"})


@pytest.mark.parametrize(("column", "split"), [("Finding Labels", None), ("Finding Labels", "test"), ("label", "test")])
def test_rows_of_several_classes_alone_are_refused(tmp_path: Path, column: str, split: str | None) -> None:
    """Regression: an error of Python."""
    rows = [("a", "Mass|Edema", "test"), ("b", "Edema|Mass", "test")]
    rows += [] if split is None else [("c", "Mass", "train"), ("d", "Edema", "train")]
    for name, _, _ in rows:
        image(tmp_path / f"{name}.png")
    lines = "".join(f"{name}.png,{label},{part}\n" for name, label, part in rows)
    (tmp_path / "labels.csv").write_text(f"file,{column},split\n{lines}")
    with pytest.raises(DataError, match="holds no image of one class: all of the 2 that are asked for have several"):
        open_data(tmp_path, split=split)


@pytest.mark.parametrize(
    "more",
    [{"objects": [{"bbox": [1, 2]}] * 2}, {"hash": [b"a", b"b"]}, {"mask": [{"bytes": b"a", "path": None}] * 2}],
    ids=["boxes", "hashes", "masks"],
)
def test_parquet_metadata_with_other_columns_is_a_table(tmp_path: Path, more: dict[str, list[object]]) -> None:
    """Regression: it was read by its folder, and refused by its own path for having no images."""
    for name in ("a", "b"):
        image(tmp_path / f"{name}.png")
    table = {"file_name": ["a.png", "b.png"], "label": ["x", "y"]}
    pq.write_table(pa.table(table | more), tmp_path / "metadata.parquet")
    for path in (tmp_path, tmp_path / "metadata.parquet"):
        assert open_data(path).layout == "Hugging Face imagefolder with metadata.parquet"


def test_parquet_metadata_with_images_is_data(tmp_path: Path) -> None:
    """Regression: it was taken for a table of files, and refused for a missing column."""
    content = image(tmp_path / "a.png").read_bytes()
    pq.write_table(pa.table({"image": [content, content], "label": [0, 1]}), tmp_path / "metadata.parquet")
    assert len(open_data(tmp_path / "metadata.parquet")) == 2
    pq.write_table(pa.table({"scan": [content, content], "label": [0, 1]}), tmp_path / "metadata.parquet")
    assert len(open_data(tmp_path / "metadata.parquet", file_column="scan")) == 2


def test_a_list_of_classes_beside_folders_of_images(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        image(tmp_path / name / "1.png")
    (tmp_path / "labels.csv").write_text("id,breed\n0,cat\n1,dog\n")
    with pytest.raises(DataError, match=r"labels.csv, line 3: '1' may be any of 2 files.*give --class-level"):
        open_data(tmp_path)
    assert tuple(open_data(tmp_path, class_level=1).class_names or ()) == ("cat", "dog")
