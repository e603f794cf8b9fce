"""Headers of ``.npy`` data that claim more values than there are: nothing is allocated for them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

import underfire as uf
from underfire.data.npy_header import check_header
from underfire.errors import DataError, InputError


def claiming(shape: tuple[int, ...], version: tuple[int, int] = (1, 0)) -> bytes:
    """``.npy`` data whose header claims a shape, with ten bytes of values."""
    file = io.BytesIO()
    write = np.lib.format.write_array_header_1_0 if version == (1, 0) else np.lib.format.write_array_header_2_0
    write(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + b"0123456789"


def saved(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_header_that_claims_too_much(version: tuple[int, int]) -> None:
    content = claiming((10**6, 10**6), version)
    with pytest.raises(ValueError, match=r"claims an array of shape \(1000000, 1000000\) .*, and 10 bytes follow"):
        check_header(io.BytesIO(content), len(content))


def test_an_honest_header() -> None:
    for values in (np.zeros((3, 4)), np.zeros((0, 4)), np.array(1)):
        content = saved(values)
        file = io.BytesIO(content)
        check_header(file, len(content))
        assert np.array_equal(np.load(file), values), "the file is at its begin again"


def test_such_an_image_is_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "bad.npy").write_bytes(claiming((10**6, 10**6)))
    (tmp_path / "cat" / "good.npy").write_bytes(saved(np.zeros((8, 8), np.uint8)))
    batch = uf.data.open_data(tmp_path).load((8, 8), 1)
    assert batch.images.shape == (1, 1, 8, 8)
    ((path, why),) = batch.unreadable
    assert path.endswith("bad.npy")
    assert "1000000000000 bytes" in why


def test_such_an_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("test_images.npy", claiming((10**4, 10**4, 10**4)))
        archive.writestr("test_labels.npy", saved(np.zeros(10, np.int64)))
    with pytest.raises(DataError, match=r"data\.npz cannot be read as an \.npz file: its header claims"):
        uf.data.open_data(tmp_path / "data.npz")


def test_such_a_target_map_is_refused(tmp_path: Path) -> None:
    (tmp_path / "map.npy").write_bytes(claiming((10**6, 10**6)))
    with pytest.raises(InputError, match="its header claims"):
        uf.attacks.preset("adv2", target_map=str(tmp_path / "map.npy"))
