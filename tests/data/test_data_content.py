"""Hashes of images as they are stored, by which images of one id in two data sets are told apart."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

import underfire as uf
from underfire.data import TensorData, open_data
from underfire.data.relabelled import RelabelledData
from underfire.runs.predicted import PredictedData


def write(folder: Path, level: int) -> Path:
    """Save a folder with one image per class."""
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        level += 1
        Image.new("L", (4, 4), level).save(folder / name / "0.png")
    return folder


def contents(data: uf.data.ImageData) -> list[str]:
    return [data.content(place) for place in range(len(data))]


def test_files_and_parquet_rows_are_told_by_their_bytes(tmp_path: Path) -> None:
    """A file that was exported from a parquet file is the same image; a file of the same name in a folder is not."""
    first, second = (open_data(write(tmp_path / name, level)) for name, level in (("train", 0), ("test", 100)))
    files = [(tmp_path / "train" / name / "0.png").read_bytes() for name in ("a", "b")]
    expected = [f"file:{hashlib.sha256(each).hexdigest()}" for each in files]
    assert contents(first) == expected
    assert first.record(0).image_id == second.record(0).image_id
    assert not set(contents(first)) & set(contents(second))
    shutil.move(tmp_path / "train" / "b" / "0.png", tmp_path / "train" / "b" / "other.png")
    assert contents(first) == [expected[0], ""]
    images = pa.array([*files, None], pa.binary())
    pq.write_table(pa.table({"image": images, "label": [0, 1, 1]}), tmp_path / "train.parquet")
    assert contents(open_data(tmp_path / "train.parquet")) == [*expected, ""]
    relabelled = RelabelledData(second, (1, 0), ("b", "a"))
    assert contents(relabelled) == contents(second)
    predicted = PredictedData(second, uf.classifiers.load("digits-resnet"), 10)
    assert contents(predicted) == contents(second)


def test_arrays_are_told_by_their_levels(tmp_path: Path) -> None:
    """Tensors are not: the caller may have prepared them in several ways, and says by ids what they are."""
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    for name, held in (("first", images), ("second", images.astype(float) / 255), ("other", images[::-1])):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "set.npz", images=held, labels=np.arange(3))
    first, second, other = (open_data(tmp_path / name / "set.npz") for name in ("first", "second", "other"))
    assert contents(first) == contents(second) == contents(other)[::-1]
    assert all(each.startswith("levels:") for each in contents(first))
    assert len(set(contents(first))) == 3
    assert contents(TensorData(torch.from_numpy(images).unsqueeze(1), [0, 1, 2])) == [""] * 3
