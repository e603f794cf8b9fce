"""Data sets of arrays in their publishers' files: MedMNIST, Keras, MNIST and CIFAR."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from underfire.data import ImageData, open_data
from underfire.data.plain_pickles import read_pickle
from underfire.errors import DataError, InputError

RANDOM = np.random.default_rng(0)
LABELS = np.array([1, 0, 2, 1], dtype=np.uint8)


def pictures(*shape: int) -> Any:
    return RANDOM.integers(0, 256, (len(LABELS), *shape), dtype=np.uint8)


def check(data: ImageData, images: Any, layout: str, names: tuple[str, ...] = ("0", "1", "2")) -> None:
    """Compare a data set with images N x H x W or N x H x W x 3."""
    batch = data.load(channels=1 if images.ndim == 3 else 3)
    pixels = batch.images.mul(255).round().numpy()
    assert np.array_equal(pixels[:, 0] if images.ndim == 3 else pixels.transpose(0, 2, 3, 1), images)
    assert batch.labels.tolist() == LABELS.tolist()
    assert batch.ids[1] == f"{data.name}/00001"
    assert (data.layout, data.class_names) == (layout, names)
    assert len(data.fingerprint()) == 64


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_medmnist(tmp_path: Path, shape: tuple[int, ...]) -> None:
    parts = {split: pictures(*shape) for split in ("train", "val", "test")}
    arrays = {f"{split}_images": images for split, images in parts.items()}
    np.savez(tmp_path / "pathmnist.npz", **arrays, **{f"{split}_labels": LABELS[:, None] for split in parts})
    check(open_data(tmp_path / "pathmnist.npz"), parts["test"], "MedMNIST, test images")
    check(open_data(tmp_path / "pathmnist.npz", split="val"), parts["val"], "MedMNIST, val images")
    assert open_data(tmp_path / "pathmnist.npz").name == "pathmnist-test"


def test_keras(tmp_path: Path) -> None:
    images = pictures(28, 28)
    np.savez(tmp_path / "mnist.npz", x_train=images[:2], y_train=LABELS[:2], x_test=images, y_test=LABELS)
    check(open_data(tmp_path / "mnist.npz"), images, "arrays in an .npz file, test images")


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X", "y"), ("data", "target")])
def test_a_pair_of_arrays(tmp_path: Path, names: tuple[str, str]) -> None:
    images = pictures(8, 9, 3)
    np.savez(tmp_path / "own.npz", **dict(zip(names, (images, LABELS), strict=True)), other=LABELS)
    check(open_data(tmp_path / "own.npz"), images, "arrays in an .npz file")
    with pytest.raises(InputError, match=r"split is 'val'; .* has no splits"):
        open_data(tmp_path / "own.npz", split="val")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_arrays_of_other_types_and_orders(tmp_path: Path, kind: type, first: bool) -> None:
    images = pictures(8, 9, 3)
    images[0, 0, 0] = 0, 1, 255
    given = images.transpose(0, 3, 1, 2) if first else images
    np.savez(tmp_path / "own.npz", x=given.astype(kind), y=LABELS)
    check(open_data(tmp_path / "own.npz"), images, "arrays in an .npz file")
    if np.issubdtype(kind, np.floating):
        np.savez(tmp_path / "own.npz", x=(given / 255).astype(kind), y=LABELS)
        check(open_data(tmp_path / "own.npz"), images, "arrays in an .npz file")


def test_floats_between_8_bits_are_said_to_be_rounded(tmp_path: Path) -> None:
    images = pictures(8, 8)
    np.savez(tmp_path / "own.npz", x=(images + 0.3).clip(0, 255) / 255, y=LABELS)
    check(open_data(tmp_path / "own.npz"), images, "arrays in an .npz file, rounded to 8 bits")


def test_arrays_that_cannot_be_used(tmp_path: Path) -> None:
    def refused(message: str, **arrays: Any) -> None:
        np.savez(tmp_path / "a.npz", **arrays)
        with pytest.raises(DataError, match=message):
            open_data(tmp_path / "a.npz")

    refused(r"holds the arrays weights; expected test_images", weights=LABELS)
    refused(r"Volumes cannot be used", test_images=pictures(8, 8, 8), test_labels=LABELS)
    refused(r"Images of several classes", test_images=pictures(8, 8), test_labels=np.zeros((4, 14), np.uint8))
    refused(r"one integer for each of the 4 images", test_images=pictures(8, 8), test_labels=LABELS[:3])
    refused(r"are float64 from 0\.", test_images=pictures(8, 8) / 200 + 0.1, test_labels=LABELS)
    refused(r"are float64 from -", x=pictures(8, 8) / 127.5 - 1, y=LABELS)
    refused(r"are float64 from nan", x=np.full((4, 8, 8), np.nan), y=LABELS)
    refused(r"are uint16 from \d+ to ", x=pictures(8, 8).astype(np.uint16) * 256, y=LABELS)
    refused(r"cannot be read as an .npz file", test_images=np.array([{}]), test_labels=LABELS)
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        open_data(tmp_path / "a.npz")


def idx(values: Any) -> bytes:
    return b"\0\0\x08" + bytes([values.ndim]) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


@pytest.mark.parametrize("mark", ["-idx", ".idx"])
@pytest.mark.parametrize("packed", [True, False])
def test_mnist(tmp_path: Path, packed: bool, mark: str) -> None:
    images = {"train": pictures(28, 28), "t10k": pictures(28, 28)}
    for name, values in images.items():
        for part, array in ((f"images{mark}3", values), (f"labels{mark}1", LABELS)):
            content = gzip.compress(idx(array)) if packed else idx(array)
            (tmp_path / f"{name}-{part}-ubyte{'.gz' if packed else ''}").write_bytes(content)
    check(open_data(tmp_path), images["t10k"], "MNIST's original files, test images")
    check(open_data(tmp_path, split="train"), images["train"], "MNIST's original files, train images")
    with pytest.raises(InputError, match=r"split is 'val'; .* has "):
        open_data(tmp_path, split="val")


def test_a_cut_file_of_mnist(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(pictures(28, 28))[:-1])
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS))
    with pytest.raises(DataError, match=r"images-idx3-ubyte is not a complete file"):
        open_data(tmp_path)


def rows_of(images: Any) -> Any:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def test_cifar_10_binary(tmp_path: Path) -> None:
    images = pictures(32, 32, 3)
    (tmp_path / "test_batch.bin").write_bytes(np.hstack([LABELS[:, None], rows_of(images)]).tobytes())
    (tmp_path / "batches.meta.txt").write_text("cat\ndog\nbus\n\n")
    check(open_data(tmp_path), images, "CIFAR-3's original files, test images", ("cat", "dog", "bus"))


def test_cifar_100_binary(tmp_path: Path) -> None:
    images = pictures(32, 32, 3)
    (tmp_path / "test.bin").write_bytes(
        np.hstack([LABELS[:, None] * 0 + 9, LABELS[:, None], rows_of(images)]).tobytes()
    )
    (tmp_path / "fine_label_names.txt").write_text("cat\ndog\nbus\n")
    check(open_data(tmp_path), images, "CIFAR-3's original files, test images", ("cat", "dog", "bus"))


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("batches", [1, 2])
def test_cifar_for_python(tmp_path: Path, protocol: int, batches: int) -> None:
    images = pictures(32, 32, 3)
    for number, part in enumerate(np.array_split(np.arange(4), batches), 1):
        held = {b"data": rows_of(images)[part], b"labels": LABELS[part].tolist(), b"filenames": [b"x.png"] * len(part)}
        name = f"data_batch_{number}"
        (tmp_path / name).write_bytes(pickle.dumps(held, protocol=protocol))
    names = {"num_cases_per_batch": 2, "label_names": ["cat", "dog", "bus"], "num_vis": 3072}
    (tmp_path / "batches.meta").write_bytes(pickle.dumps(names, protocol=protocol))
    check(open_data(tmp_path), images, "CIFAR-3's original files, train images", ("cat", "dog", "bus"))


def test_pickles_of_cifar_100(tmp_path: Path) -> None:
    images = pictures(32, 32, 3)
    held = {"data": rows_of(images), "fine_labels": LABELS.tolist(), "coarse_labels": [0] * 4}
    (tmp_path / "test").write_bytes(pickle.dumps(held, protocol=2))
    (tmp_path / "meta").write_bytes(pickle.dumps({"fine_label_names": ["cat", "dog", "bus"]}, protocol=2))
    check(open_data(tmp_path), images, "CIFAR-3's original files, test images", ("cat", "dog", "bus"))


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"data": Evil()}, protocol=protocol))
    with pytest.raises(DataError, match=r"it names posix mkdir|it names nt mkdir|is not one of those"):
        read_pickle(path)
    assert not (tmp_path / "pwned").exists()
    path.write_bytes(b"no pickle")
    with pytest.raises(DataError, match="is no pickle of plain values"):
        read_pickle(path)
