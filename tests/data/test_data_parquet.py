"""Parquet files in the Hugging Face layout."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections import deque
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from underfire.data import ParquetData, Record
from underfire.errors import DataError, InputError, UnreadableImageError


def png(level: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), level).save(buffer, "PNG")
    return buffer.getvalue()


def write(
    path: Path,
    images: list[bytes | None],
    labels: object,
    *,
    columns: tuple[str, str] = ("img", "label"),
    plain: bool = False,
    metadata: object = None,
    row_group_size: int | None = None,
) -> Path:
    values = images if plain else [{"bytes": image, "path": f"{n}.png"} for n, image in enumerate(images)]
    table = pa.table({"other": [0.5] * len(images), columns[1]: labels, columns[0]: values})
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def named(names: object, column: str = "label") -> dict[str, object]:
    return {"info": {"features": {column: {"_type": "ClassLabel", "names": names}}}}


def test_rows_pixels_and_class_names(tmp_path: Path) -> None:
    names = ["cat", "dog", "bird"]
    path = write(tmp_path / "val.parquet", [png(5), png(6)], [1, 0], metadata=named(names))
    data = ParquetData(path)
    assert data.class_names == ("cat", "dog", "bird")
    assert data.name == "val"
    assert len(data) == 2
    assert data.record(1) == Record("val/00001", f"{path}#1", 0)
    batch = data.load(channels=1)
    assert batch.images[:, 0, 0, 0].mul(255).round().tolist() == [5, 6]
    assert batch.labels.tolist() == [1, 0]
    assert batch.ids == ["val/00000", "val/00001"]


@pytest.mark.parametrize("image", ["img", "image"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label"])
@pytest.mark.parametrize("plain", [False, True])
def test_the_layouts_in_use(tmp_path: Path, image: str, label: str, plain: bool) -> None:
    path = write(
        tmp_path / "a.parquet",
        [png(5), png(6)],
        [1, 0],
        columns=(image, label),
        plain=plain,
        metadata=named(["cat", "dog"], label),
    )
    data = ParquetData(path)
    assert data.class_names == ("cat", "dog")
    assert data.load(channels=1).images[:, 0, 0, 0].mul(255).round().tolist() == [5, 6]


def test_rows_stay_in_order_over_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [png(level) for level in range(50)], list(range(50)), row_group_size=7)
    batch = ParquetData(path).load(channels=1)
    assert batch.images[:, 0, 0, 0].mul(255).round().tolist() == list(range(50))
    assert batch.labels.tolist() == list(range(50))


@pytest.mark.parametrize(
    "metadata", [None, {}, {"info": None}, {"info": {"features": []}}, named(None), named({"0": "cat"}), [1]]
)
def test_without_class_names_numbers_stand_in(tmp_path: Path, metadata: object) -> None:
    data = ParquetData(write(tmp_path / "a.parquet", [png(1), png(2)], [2, 0], metadata=metadata))
    assert data.class_names == ("0", "1", "2")


def test_metadata_that_are_no_json(tmp_path: Path) -> None:
    table = pa.table({"img": [png(1)], "label": [0]}).replace_schema_metadata({"huggingface": "{"})
    pq.write_table(table, tmp_path / "a.parquet")
    assert ParquetData(tmp_path / "a.parquet").class_names == ("0",)


def test_unreadable_rows_are_skipped_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [png(1), b"no image", None, b"", png(2)], [0, 1, 0, 1, 2])
    data = ParquetData(path)
    batch = data.load(channels=1)
    assert batch.ids == ["a/00000", "a/00004"]
    assert batch.labels.tolist() == [0, 2]
    assert [where for where, _ in batch.unreadable] == [f"{path}#1", f"{path}#2", f"{path}#3"]
    reasons = [reason for _, reason in batch.unreadable]
    assert "row 1 of" in reasons[0]
    assert "not an image that can be read" in reasons[0]
    assert "holds no image" in reasons[1]
    assert "is empty" in reasons[2]
    with pytest.raises(UnreadableImageError, match="row 1 of"):
        data.read(1)


@pytest.mark.parametrize(
    ("labels", "metadata", "message"),
    [
        ([0, None], None, "row 1 of .* has no label"),
        ([0, -1], None, "row 1 of .* label -1 is negative"),
        ([0, 2], named(["cat", "dog"]), "row 1 of .* label 2 has no class name; expected 0 to 1"),
        ([0, 10**9], None, "row 1 of .* label 1000000000 is too large for a class number"),
        (["cat", ""], None, "row 1 of .* has no label"),
        ([0.0, 1.0], None, "is of type double; expected integers"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, labels: object, metadata: object, message: str) -> None:
    path = write(tmp_path / "a.parquet", [png(1), png(2)], labels, metadata=metadata)
    with pytest.raises(DataError, match=message):
        ParquetData(path)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.parquet cannot be read"):
        ParquetData(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"text\.parquet cannot be read as a parquet file"):
        ParquetData(tmp_path / "text.parquet")
    empty = pa.table({"img": pa.array([], pa.binary()), "label": pa.array([], pa.int64())})
    pq.write_table(empty, tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="holds no rows"):
        ParquetData(tmp_path / "empty.parquet")
    with pytest.raises(DataError, match=r"no image column; expected one of .*'img'.*found .*'pixels'"):
        ParquetData(write(tmp_path / "a.parquet", [png(1)], [0], columns=("pixels", "label")))
    with pytest.raises(DataError, match="no label column"):
        ParquetData(write(tmp_path / "a.parquet", [png(1)], [0], columns=("img", "y")))
    pq.write_table(pa.table({"img": [3], "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column 'img' of .* is of type int64; expected encoded images"):
        ParquetData(tmp_path / "a.parquet")


def test_indices_outside(tmp_path: Path) -> None:
    data = ParquetData(write(tmp_path / "a.parquet", [png(1), png(2)], [0, 1]))
    for index in (-1, 2):
        with pytest.raises(IndexError):
            data.record(index)
        with pytest.raises(IndexError):
            data.read(index)


def test_the_fingerprint_is_the_files_hash(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [png(1)], [0])
    assert ParquetData(path).fingerprint() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_can_be_sent_to_a_worker(tmp_path: Path) -> None:
    data = ParquetData(write(tmp_path / "a.parquet", [png(1), png(2)], [0, 1]))
    copy = pickle.loads(pickle.dumps(data))
    assert copy.load(channels=1).images[:, 0, 0, 0].mul(255).round().tolist() == [1, 2]


def test_shards_come_in_any_sequence(tmp_path: Path) -> None:
    """Regression: a deque was refused, and texts in a list ended in an AttributeError."""
    files = [write(tmp_path / f"{name}.parquet", [png(5), png(6)], [0, 1]) for name in "ab"]
    for given in (deque(files), tuple(files), [str(file) for file in files], iter(files)):
        assert len(ParquetData(given)) == 4
    with pytest.raises(InputError, match=r"path is None; expected a path"):
        ParquetData([None])
    with pytest.raises(InputError, match="path is empty; expected at least one file"):
        ParquetData([])


def test_cifar10(cifar10: Path) -> None:
    data = ParquetData(cifar10 / "test.parquet")
    batch = data.load()
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert data.class_names[9] == "truck"
    assert batch.images.shape == (10_000, 3, 32, 32)
    assert batch.labels.bincount().tolist() == [1000] * 10
    assert not batch.unreadable
    assert float(batch.images.min()) >= 0
    assert float(batch.images.max()) <= 1
    grid = batch.images.mul(255)
    assert bool((grid.round() - grid).abs().max() < 1e-4)
    # The published channel means of CIFAR-10 (of its training part: 0.4914, 0.4822, 0.4465).
    assert batch.images.mean((0, 2, 3)).tolist() == pytest.approx([0.494, 0.485, 0.450], abs=0.003)
