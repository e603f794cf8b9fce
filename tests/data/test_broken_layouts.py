"""Broken files of known layouts are named in a DataError."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from underfire.data import open_data
from underfire.errors import DataError


def test_members_without_npy(tmp_path: Path) -> None:
    """Regression: KeyError."""
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images", b"no array")
        archive.writestr("labels", b"no array")
    with pytest.raises(DataError, match=r"a\.npz cannot be read as an \.npz file"):
        open_data(tmp_path / "a.npz")


def test_a_list_that_holds_no_numbers(tmp_path: Path) -> None:
    """Regression: ValueError."""
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("490\nx\n")
    with pytest.raises(DataError, match=r"ground_truth\.txt cannot be read: .*; expected a class number on each line"):
        open_data(tmp_path)


@pytest.mark.parametrize(
    ("labels", "names", "said"), [(None, ["a"], "not as many labels"), ([0, 0], 3, "expected a list of texts")]
)
def test_broken_batches_of_cifar(tmp_path: Path, labels: Any, names: Any, said: str) -> None:
    """Regression: TypeErrors."""
    batch = {"data": np.zeros((2, 3072), np.uint8)} | ({} if labels is None else {"labels": labels})
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    with pytest.raises(DataError, match=said):
        open_data(tmp_path)
