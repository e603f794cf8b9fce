"""Batches that do not fit into a GPU's memory are halved; the error of a GPU is imitated."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from underfire.batching import in_batches, in_parts
from underfire.errors import UnderfireWarning


def limited(most: int, seen: list[int]) -> object:
    def work(rows: slice, batch_size: int) -> list[int]:
        count = rows.stop - rows.start
        seen.append(count)
        if count > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(rows.start, rows.stop))

    return work


@pytest.mark.parametrize("count", [1, 8, 63, 64, 200])
def test_every_row_is_done_once_in_order(count: int) -> None:
    seen: list[int] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = in_parts(limited(16, seen), count, 64)
    assert [row for part in parts for row in part] == list(range(count))
    assert bool(caught) == (count > 16)
    assert all(issubclass(warning.category, UnderfireWarning) for warning in caught)


def test_it_halves_and_says_so() -> None:
    seen: list[int] = []
    with pytest.warns(UnderfireWarning, match="out of memory with 64 images at once: going on with 32"):
        in_parts(limited(40, seen), 100, 64)
    assert seen == [64, 32, 32, 32, 4]


def test_eight_images_that_do_not_fit_are_an_error() -> None:
    with pytest.warns(UnderfireWarning), pytest.raises(torch.OutOfMemoryError):
        in_parts(limited(4, []), 20, 16)


def test_tensors_in_batches_that_shrink() -> None:
    def double(chunk: Tensor) -> Tensor:
        if len(chunk) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * chunk

    rows = torch.arange(50.0)
    with pytest.warns(UnderfireWarning):
        assert torch.equal(in_batches(double, rows, batch_size=32), 2 * rows)
