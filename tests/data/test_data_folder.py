"""Folders of images by class."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from underfire.data import FolderData, Record
from underfire.data.classes import in_order
from underfire.errors import DataError, InputError, UnderfireWarning, UnreadableImageError

WriteImage = Callable[..., Path]


def records(data: FolderData) -> list[tuple[str, int]]:
    return [(data.record(index).image_id, data.record(index).label) for index in range(len(data))]


def test_numeric_folders_are_in_numeric_order(tmp_path: Path, write_image: WriteImage) -> None:
    for name in ("10", "2", "0", "1", "100"):
        write_image(f"{name}/a.png", int(name))
    data = FolderData(tmp_path)
    assert data.class_names == ("0", "1", "2", "10", "100")
    assert records(data) == [
        ("0/a.png", 0),
        ("1/a.png", 1),
        ("2/a.png", 2),
        ("10/a.png", 3),
        ("100/a.png", 4),
    ]
    batch = data.load(channels=1)
    assert batch.images.mul(255).round()[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 100]
    assert batch.labels.tolist() == [0, 1, 2, 3, 4]


def test_one_name_that_is_no_number_makes_the_order_textual(tmp_path: Path, write_image: WriteImage) -> None:
    for name in ("10", "2", "cat"):
        write_image(f"{name}/a.png")
    assert FolderData(tmp_path).class_names == ("10", "2", "cat")


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbers_are_ordered_by_value(numbers: list[int]) -> None:
    assert in_order(map(str, numbers)) == tuple(map(str, sorted(numbers)))


@given(st.lists(st.text(min_size=1)), st.randoms())
def test_the_order_does_not_depend_on_the_listing(names: list[str], random: Any) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)
    assert in_order(shuffled) == in_order(names)


def test_ids_are_relative_posix_paths_sorted_within_the_class(tmp_path: Path, write_image: WriteImage) -> None:
    for name in ("b/z.png", "b/a/deep/y.JPG", "a/b.webp", "a/B.png"):
        write_image(name)
    data = FolderData(tmp_path)
    assert records(data) == [("a/B.png", 0), ("a/b.webp", 0), ("b/a/deep/y.JPG", 1), ("b/z.png", 1)]
    assert data.record(2) == Record("b/a/deep/y.JPG", str(tmp_path / "b" / "a" / "deep" / "y.JPG"), 1)


def test_ids_do_not_depend_on_how_the_root_is_written(
    tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image("root/cat/1.png")
    monkeypatch.chdir(tmp_path / "root")
    assert records(FolderData(".")) == records(FolderData(tmp_path / "root")) == [("cat/1.png", 0)]
    assert FolderData(".").name == "root"


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path, write_image: WriteImage) -> None:
    for name in (
        "cat/1.png",
        "cat/._1.png",
        "cat/.cache/2.png",
        ".git/3.png",
        "4.png",
        "cat/5.txt",
        "cat/png",
    ):
        write_image(name)
    data = FolderData(tmp_path)
    assert data.class_names == ("cat",)
    assert records(data) == [("cat/1.png", 0)]


def test_an_empty_class_keeps_its_label_and_is_announced(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("a/1.png")
    (tmp_path / "b").mkdir()
    write_image("c/1.png")
    with pytest.warns(UnderfireWarning, match=r"1 of the 3 subfolders .* hold no images.*: b\."):
        data = FolderData(tmp_path)
    assert records(data) == [("a/1.png", 0), ("c/1.png", 2)]


def test_linked_classes_and_images_are_read(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("store/1.png", 9)
    (tmp_path / "root" / "b").mkdir(parents=True)
    try:
        (tmp_path / "root" / "a").symlink_to(tmp_path / "store", target_is_directory=True)
        (tmp_path / "root" / "b" / "2.png").symlink_to(tmp_path / "store" / "1.png")
        (tmp_path / "root" / "b" / "loop").symlink_to(tmp_path / "root", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no symbolic links")
    data = FolderData(tmp_path / "root")
    assert records(data) == [("a/1.png", 0), ("b/2.png", 1)]
    assert data.load(channels=1).images.mul(255).unique().tolist() == [9]


def test_an_unreadable_image_is_skipped_and_named(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("a/1.png", 1)
    cut = write_image("a/2.png", 2)
    cut.write_bytes(cut.read_bytes()[:-20])  # within the pixels
    text = tmp_path / "a" / "3.jpg"
    text.write_text("no image")
    empty = tmp_path / "a" / "4.png"
    empty.touch()
    write_image("b/5.png", 5)
    batches = list(FolderData(tmp_path).batches(None, 1, batch_size=2))
    assert [batch.ids for batch in batches] == [["a/1.png"], [], ["b/5.png"]]
    assert [batch.images.mul(255).flatten().unique().tolist() for batch in batches] == [[1], [], [5]]
    assert batches[1].labels.dtype == torch.int64
    assert batches[1].labels.shape == (0,)
    named = {path: reason for batch in batches for path, reason in batch.unreadable}
    assert list(named) == [str(cut), str(text), str(empty)]
    assert "cannot be decoded" in named[str(cut)]
    assert "not an image that can be read" in named[str(text)]
    assert "is empty" in named[str(empty)]


def test_reasons_are_the_same_in_every_run(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_text("no image")
    data = FolderData(tmp_path)
    assert "0x" not in data.load().unreadable[0][1]


def test_formats_that_run_programs_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n")
    with pytest.raises(UnreadableImageError, match="not an image that can be read"):
        FolderData(tmp_path).read(0)


def test_a_file_that_vanishes_is_unreadable(tmp_path: Path, write_image: WriteImage) -> None:
    path = write_image("a/1.png")
    data = FolderData(tmp_path)
    path.unlink()
    with pytest.raises(UnreadableImageError, match=r"1\.png does not exist"):
        data.read(0)


def test_a_decompression_bomb_is_unreadable(
    tmp_path: Path, write_image: WriteImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image("a/1.png", size=(40, 40))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match=r"1\.png cannot be decoded: .*1600 pixels"):
        FolderData(tmp_path).read(0)


def test_different_sizes_need_a_size_for_any_batch_size(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("a/1.png", size=(4, 4))
    write_image("a/2.png", size=(5, 4))
    data = FolderData(tmp_path)
    for batch_size in (1, 2):
        with pytest.raises(DataError, match=r"1\.png is 4 x 4 .*2\.png is 4 x 5"):
            list(data.batches(None, 3, batch_size))
    assert data.load((4, 4)).images.shape == (2, 3, 4, 4)


def test_batches_follow_the_indices(tmp_path: Path, write_image: WriteImage) -> None:
    for level in range(5):
        write_image(f"a/{level}.png", level)
    data = FolderData(tmp_path)
    batches = list(data.batches((4, 4), 1, batch_size=2, indices=torch.tensor([4, 0, 3])))
    assert [batch.ids for batch in batches] == [["a/4.png", "a/0.png"], ["a/3.png"]]
    assert [batch.images.shape for batch in batches] == [(2, 1, 4, 4), (1, 1, 4, 4)]
    assert batches[0].images.dtype == torch.float32
    assert data.load(indices=iter([2])).ids == ["a/2.png"]
    assert data.load((4, 4), 1, []).images.shape == (0, 1, 4, 4)


def test_arguments_are_checked_by_the_call(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("a/1.png")
    data = FolderData(tmp_path)
    with pytest.raises(InputError, match="batch_size is 0"):
        data.batches(None, 3, 0)
    with pytest.raises(InputError, match="indices hold 1; expected 0 to 0"):
        data.batches(None, 3, 1, [0, 1])
    with pytest.raises(InputError, match="indices hold -1"):
        data.load(indices=[-1])
    with pytest.raises(InputError, match="channels is 0"):
        data.batches(None, 0, 1)
    for index in (-1, 1):
        with pytest.raises(IndexError):
            data.record(index)
        with pytest.raises(IndexError):
            data.read(index)


def test_the_fingerprint_tells_contents_names_and_classes(tmp_path: Path, write_image: WriteImage) -> None:
    seen = []

    def fingerprint() -> str:
        return FolderData(tmp_path).fingerprint()

    first = write_image("a/1.png", 1)
    write_image("b/2.png", 2)
    seen.append(fingerprint())
    assert fingerprint() == seen[0]
    assert len(seen[0]) == 64
    write_image("a/1.png", 3)
    seen.append(fingerprint())
    first.rename(tmp_path / "a" / "3.png")
    seen.append(fingerprint())
    (tmp_path / "b").rename(tmp_path / "c")
    seen.append(fingerprint())
    write_image("a/4.png", 4)
    seen.append(fingerprint())
    assert len(set(seen)) == 5
    write_image("a/1.png", 1)
    for name in ("a/3.png", "a/4.png"):
        (tmp_path / name).unlink()
    (tmp_path / "c").rename(tmp_path / "b")
    assert fingerprint() == seen[0]


def test_the_fingerprint_does_not_depend_on_where_the_folder_lies(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("here/a/1.png", 1)
    write_image("there/a/1.png", 1)
    assert FolderData(tmp_path / "here").fingerprint() == FolderData(tmp_path / "there").fingerprint()


def test_folders_without_images_by_class(tmp_path: Path, write_image: WriteImage) -> None:
    with pytest.raises(DataError, match="missing does not exist"):
        FolderData(tmp_path / "missing")
    with pytest.raises(DataError, match=r"no subfolders; .*\.jpeg"):
        FolderData(tmp_path)
    path = write_image("1.png")
    with pytest.raises(DataError, match="no subfolders"):
        FolderData(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        FolderData(path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no images in its subfolders cat"):
        FolderData(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed_is_an_error(tmp_path: Path, write_image: WriteImage) -> None:
    closed = write_image("a/inner/1.png").parent
    write_image("a/2.png")
    closed.chmod(0)
    try:
        with pytest.raises(DataError, match="inner cannot be listed"):
            FolderData(tmp_path)
    finally:
        closed.chmod(0o700)


def test_it_can_be_sent_to_a_worker(tmp_path: Path, write_image: WriteImage) -> None:
    write_image("a/1.png", 5)
    copy = pickle.loads(pickle.dumps(FolderData(tmp_path)))
    assert records(copy) == [("a/1.png", 0)]
    assert copy.load(channels=1).images.mul(255).unique().tolist() == [5]
    assert repr(copy) == f"FolderData({tmp_path.name!r}, 1 image, 1 class)"
