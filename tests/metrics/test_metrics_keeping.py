"""The most important pixels: the right number, the largest values, and no preferred side among equal values."""

from __future__ import annotations

import pytest
import torch

from underfire.errors import InputError
from underfire.metrics import most_important


def test_the_largest_and_as_many_as_asked_for() -> None:
    maps = torch.rand(4, 6, 7)
    for share in (0.0, 0.1, 0.5, 1.0):
        chosen = most_important(maps, share)
        count = round(share * 42)
        assert chosen.flatten(1).sum(1).tolist() == [count] * 4
        for one, inside in zip(maps, chosen, strict=True):
            assert sorted(one[inside].tolist()) == sorted(one.flatten().tolist())[42 - count :]


def test_equal_values_have_no_favourite_side() -> None:
    chosen = most_important(torch.zeros(2, 20, 20), 0.5)[0].float()
    assert torch.equal(chosen, most_important(torch.ones(1, 20, 20), 0.5)[0].float()), "the same for every map"
    for half in (chosen[:10], chosen[10:], chosen[:, :10], chosen[:, 10:]):
        assert 0.4 < float(half.mean()) < 0.6


def test_an_image_does_not_depend_on_its_batch() -> None:
    maps = torch.rand(9, 5, 5).mul(3).round()
    assert torch.equal(most_important(maps, 0.4)[3:4], most_important(maps[3:4], 0.4))


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match=r"shape \(3, 3\)"):
        most_important(torch.rand(3, 3), 0.5)
    with pytest.raises(InputError, match=r"share is 1\.5"):
        most_important(torch.rand(1, 3, 3), 1.5)
